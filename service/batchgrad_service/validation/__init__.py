"""Check a job's spec against its dataset: errors, warnings, and the plan."""
