"""How a step grows with nodes, links and parameters: what `python -m benchmarks.scale` runs."""
