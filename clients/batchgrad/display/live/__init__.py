"""Live displays on stderr, of jobs that train and files that travel."""
