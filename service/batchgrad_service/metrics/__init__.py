"""Prometheus metrics: of the service, and of each running job."""
