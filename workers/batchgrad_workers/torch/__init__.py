"""The torch engine: per-example gradients of any torch.nn.Module."""

from batchgrad_workers.torch.environment import set_environment

set_environment()  # before any module of this package imports torch
