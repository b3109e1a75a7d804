"""Checks of a job whose model is a PyTorch task."""
