"""Plans of PyTorch jobs: a process of its own builds and examines each task."""
