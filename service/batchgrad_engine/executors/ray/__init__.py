"""Workers as Ray actors: their start, their placement, their end, the connection to them."""
