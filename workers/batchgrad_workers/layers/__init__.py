"""Layers, and what each knows of its per-example gradients."""

from batchgrad_workers.layers.build import build_layer
from batchgrad_workers.layers.protocol import Layer, Parameters, ShapeMismatch

__all__ = ["Layer", "Parameters", "ShapeMismatch", "build_layer"]
