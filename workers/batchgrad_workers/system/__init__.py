"""Files, disks, memory, processes and garbage collection of the machine; backoff for retries."""
