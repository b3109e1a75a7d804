"""Figures of each step inside a training loop of PyTorch that is the user's own."""
