"""Whether a job can do what its spec says, and what it says that is probably not meant."""
