"""Data on their way to the service, and what was taken of them."""
