"""Tables of jobs with columns to choose."""
