"""One contestant a file; each runs in a process of its own (see `bursts`)."""
