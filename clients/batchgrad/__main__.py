"""`python -m batchgrad` is `batchgrad`."""

from batchgrad.cli import main

if __name__ == "__main__":
    main()
