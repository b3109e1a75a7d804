"""Read JSON lines: an object in each line, whose keys name the columns."""
