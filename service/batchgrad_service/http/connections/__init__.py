"""Connections of HTTP: how many, for how long, and which requests need no parsing."""
