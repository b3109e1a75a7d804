"""`python -m tests.peers.round_trips`: the tests of batchgrad.torch.

PyTorch is that of .venv-peers, whose packages come last on the path: all others are those of .venv.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def main() -> int:
    """Run the tests; return pytest's exit code."""
    packages = next((ROOT / ".venv-peers").glob("lib/python3*/site-packages"), None)
    if packages is None:
        sys.exit("There is no .venv-peers: run `make test-peers`, which installs PyTorch.")
    sys.path.append(str(packages))
    return int(pytest.main(["-q", str(ROOT / "tests/peers/torch_round_trips.py")]))


if __name__ == "__main__":
    sys.exit(main())
