"""examples/private_digits.py trains with privacy, and prints a table of accuracies."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "examples" / "private_digits.py"


def test_digits_are_learned_with_epsilon_2(tmp_path: Path) -> None:
    """The noise is new in each run: 93% on average, and 0.6% from run to run."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), "--epsilon", "2", "--seeds", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    heading, *rows = done.stdout.splitlines()
    assert heading == "network    ε = 2"
    assert [row.split()[0] for row in rows] == ["linear", "MLP-64"]
    for row in rows:
        [accuracy] = re.findall(r"(\d+\.\d)%$", row)
        assert float(accuracy) > 87
    assert list(tmp_path.iterdir()) == []
