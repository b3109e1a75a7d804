"""Cut and tap: torch calls that touch a parameter run on its twin, and their errors are caught."""
