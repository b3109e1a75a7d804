"""The commands that train and wait: submit, run, compare, sweep."""
