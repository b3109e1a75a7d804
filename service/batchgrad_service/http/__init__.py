"""HTTP below the routes: connections, access, limits, request bodies, errors, large responses."""
