"""The page: rendered here, with a little plain JavaScript; no node build, no other host."""
