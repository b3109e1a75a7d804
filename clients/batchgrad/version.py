"""The version of batchgrad: client, service and workers have the same."""

__version__ = "0.1.0"
