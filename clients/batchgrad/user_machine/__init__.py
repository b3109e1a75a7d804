"""Programs on the user's machine: a private service, the demo, comparisons, built-in data."""
