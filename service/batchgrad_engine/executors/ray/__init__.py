"""Workers as Ray actors: start them, place them on nodes, connect to them, replace lost ones."""
