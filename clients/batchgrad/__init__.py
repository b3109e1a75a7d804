"""batchgrad: exact mean gradients on a Ray cluster, and how far the shortcuts are off.

This package is the light client: it needs neither numpy nor Ray.
"""

__version__ = "0.1.0"
