"""Contestants that compute gradients of PyTorch modules: one process each."""
