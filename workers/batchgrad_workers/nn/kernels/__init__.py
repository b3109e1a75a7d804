"""Compiled loops, each beside its definition in numpy, for what takes numpy many passes."""
