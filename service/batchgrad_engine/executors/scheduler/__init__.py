"""Schedule ranges of microbatches over workers, whatever transport their connections use."""
