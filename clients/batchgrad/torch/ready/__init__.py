"""Ready tasks: classes, numbers, tokens, and a module with a loss by name."""
