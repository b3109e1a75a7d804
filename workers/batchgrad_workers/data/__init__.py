"""Datasets: reading, fetching, caching, sampling, standardization, example weights."""
