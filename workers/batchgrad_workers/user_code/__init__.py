"""Code that a user gave: its place, its digest, errors that it raises, the task that it builds."""
