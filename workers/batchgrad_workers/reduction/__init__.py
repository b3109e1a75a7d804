"""Assign microbatches to workers, and add their sums in one fixed order; clip gradients."""
