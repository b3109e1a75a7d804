"""One file for each contestant; each runs in its own process (see `bursts`)."""
