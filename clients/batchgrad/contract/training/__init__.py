"""The spec of a training job, and its parts."""
