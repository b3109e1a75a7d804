"""Differential privacy on workers: Poisson sampling, clipped sums, keyed random numbers."""
