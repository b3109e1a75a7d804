"""Read and check a user's spec files and arguments; word the messages about them."""
