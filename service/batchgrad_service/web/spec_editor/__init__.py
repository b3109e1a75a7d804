"""The text of a spec as a form: its fields, its edits, what may be typed next."""
