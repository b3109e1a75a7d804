"""The data directory: locked, recognised as the service's, opened with its database, cleaned."""
