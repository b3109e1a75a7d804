"""What the machine has: files, disk, memory, processes; retries and garbage collection."""
