"""Compute a step's microbatches: in the engine, on Ray, or where it is fastest."""
