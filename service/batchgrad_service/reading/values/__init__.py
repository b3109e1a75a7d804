"""Values of a column, in pieces: texts read as numbers or dates, and what a dataset stores."""
