"""Collected by `make test-sklearn` alone: each of a hundred fits is a job that takes a second."""

import os

from tests.estimators.__main__ import COLLECTED

collect_ignore_glob = [] if os.environ.get(COLLECTED) else ["test_*.py"]
