"""The pages of a job's examples and of its confusion."""
