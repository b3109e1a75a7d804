"""Layers, and what each knows of its per-example gradients."""

from batchgrad_workers.nn.layers.base import Layer, Parameters, ShapeMismatch
from batchgrad_workers.nn.layers.registry import make_layer

__all__ = ["Layer", "Parameters", "ShapeMismatch", "make_layer"]
