"""Default timeouts of the client, in seconds; None instead of a number waits forever."""

REQUEST = 30.0
"""For the answer to a request."""

LONG_REQUEST = 600.0
"""For an answer that the service computes first: a gradient, a replay, an uploaded dataset."""

RECONNECT = 60.0
"""For a service that answered before and is silent while a job is watched: it may restart."""
