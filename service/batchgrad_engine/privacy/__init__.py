"""Differential privacy of a job: the accountant, the schedule of ε, the mechanism of a step."""
