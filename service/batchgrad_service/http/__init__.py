"""HTTP below the routes: connections, middleware, limits, bodies, errors, large responses."""
