"""How requests and arrays reach workers on the engine's own machine."""
