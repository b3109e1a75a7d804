"""HTTP to the service: addresses, requests and their retries, responses, following a job."""
