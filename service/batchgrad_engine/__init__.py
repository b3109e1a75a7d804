"""The engine: the process that trains one job and coordinates its workers."""
