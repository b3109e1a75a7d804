"""Benchmarks of batchgrad and its peers, run alternately: `make bench`."""
