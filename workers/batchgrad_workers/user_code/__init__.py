"""Code that a user gave: its place, its digest, and errors that it raises."""
