"""POST /v1/gradients: the answer, and the processes that compute it."""
