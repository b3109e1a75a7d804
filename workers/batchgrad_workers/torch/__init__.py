"""The torch engine: per-example gradients of any torch.nn.Module."""
