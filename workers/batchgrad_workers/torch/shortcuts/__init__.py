"""Shortcuts of a PyTorch module: average first, then differentiate."""
