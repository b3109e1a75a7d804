"""Text for people: figures, tables, plots, progress, sentences for events, references."""
