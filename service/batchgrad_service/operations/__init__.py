"""Operations: work on uploaded files and datasets, each in a process of its own."""
