"""The methods of a client, each defined once: as a coroutine, or as an async iterator."""
