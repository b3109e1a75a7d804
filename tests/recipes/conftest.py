"""Collected by `make test-recipes` alone: a recipe's checks take some seconds."""

import os

from tests.recipes.__main__ import COLLECTED

collect_ignore_glob = [] if os.environ.get(COLLECTED) else ["test_*.py"]
