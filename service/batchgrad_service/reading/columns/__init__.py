"""Infer a table's columns: facts about all rows, kinds, roles, the Table."""
