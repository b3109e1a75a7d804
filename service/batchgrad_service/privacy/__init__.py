"""Private jobs in the service: their keys, what they spend, what is refused about them."""
