"""Answers to POST /v1/gradients and other heavy questions, and the processes that compute them."""
