"""How microbatches are assigned, and the order in which their sums are added."""
