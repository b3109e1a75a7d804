"""Datasets: read, fetched, cached, sampled, standardized, weighted."""
