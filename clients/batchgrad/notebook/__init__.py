"""Answers as Python users work with them: data frames and figures."""
