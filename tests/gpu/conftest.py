"""Collected by `make test-gpu` alone."""

import os

if not os.environ.get("TEST_BATCHGRAD_GPU"):
    collect_ignore_glob = ["test_*.py"]
