"""What the stress tests share. Collected by `make test-stress` alone: they take minutes."""

import os

from tests.stress.__main__ import COLLECTED

collect_ignore_glob = [] if os.environ.get(COLLECTED) else ["test_*.py"]
