"""Text for people: figures, tables, plots, progress, events as sentences, reference of keys."""
