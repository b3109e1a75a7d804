"""Collected by `make test-privacy`, or where a test is named: noise, accounting, bits, audits."""

import os
import sys

from tests.end_to_end.conftest import client, data_folder
from tests.engine.conftest import dataset
from tests.privacy.__main__ import COLLECTED

__all__ = ["client", "data_folder", "dataset"]

named = any("tests/privacy" in argument for argument in sys.argv)
if os.environ.get(COLLECTED) is None and not named:
    collect_ignore_glob = ["*/test_*.py"]
