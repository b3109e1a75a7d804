"""The engine process of one job: the coordinator of its workers."""
