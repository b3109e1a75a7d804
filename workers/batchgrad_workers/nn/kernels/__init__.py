"""Compiled loops, for what takes numpy many passes over memory."""
