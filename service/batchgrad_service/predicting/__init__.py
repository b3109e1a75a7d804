"""Predictions and evaluations of a job's parameters, in processes of their own."""
