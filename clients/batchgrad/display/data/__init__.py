"""What was taken of data, and what a job says of them."""
