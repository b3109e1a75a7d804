"""What each column of a table is: facts about all rows, kinds, roles, the Table."""
