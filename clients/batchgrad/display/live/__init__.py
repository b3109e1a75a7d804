"""What is shown on stderr while jobs train and files travel: redrawn on a terminal."""
