"""The private Ray cluster: its process, its state, its logs."""
