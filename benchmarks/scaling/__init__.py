"""A model of step times by nodes, links and parameters (`python -m benchmarks.scale`)."""
