"""The HTTP resources, one file for each kind."""
