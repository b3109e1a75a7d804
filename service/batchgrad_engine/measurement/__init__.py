"""Measurements of a step: shortcuts, their gap to the mean gradient, statistics, influence."""
