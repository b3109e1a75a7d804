"""Read tables and arrays from files of many formats into contents of datasets."""
