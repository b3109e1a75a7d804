"""Schedule ranges of microbatches over workers. Knows no transport."""
