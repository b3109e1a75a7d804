"""Show datasets' columns, first specs and evaluations."""
