"""Read files of many formats: FORMATS in `registry.py`, a module or folder for each."""
