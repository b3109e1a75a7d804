"""PyTorch modules, on batchgrad and on its peers."""
