"""The service: HTTP, store and supervisor; each running job has an engine process."""
