"""Read CSV and TSV files: text with delimiters between its fields."""
