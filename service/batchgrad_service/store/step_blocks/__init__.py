"""Step rows, packed into blocks of columns and thinned as they grow old."""
