"""Send requests and arrays to workers on the engine's own machine."""
