"""Dropout, and stochastic depth, by keys of the examples."""
