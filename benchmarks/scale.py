"""Where a job stops scaling: a model of one step, and what it was measured against.

python -m benchmarks.scale              docs/scale.md's tables and plots, from results-scale.json
python -m benchmarks.scale --measure    measure anew first (Linux, root; about eight minutes)
python -m benchmarks.scale --ask 1e8 65536 32 10   P, N, nodes, Gbit/s: one step, part by part
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.scaling.document import DOCUMENT, IMAGES, renew
from benchmarks.scaling.fitting import elsewhere
from benchmarks.scaling.measured import Measurements
from benchmarks.scaling.plots import draw
from benchmarks.scaling.questions import THREADS, asked
from benchmarks.scaling.tables import parts

RESULTS = Path(__file__).parent / "results-scale.json"


def main() -> None:
    """Measure if asked; then tables and plots, or one answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="anew, first")
    parser.add_argument("--again", action="store_true", help="only what was disturbed last time")
    parser.add_argument("--ask", nargs=4, type=float, metavar=("P", "N", "NODES", "GBITS"))
    arguments = parser.parse_args()
    if arguments.measure:
        again = ["--again"] if arguments.again else []
        subprocess.run(
            [sys.executable, "-m", "benchmarks.scaling.hosts", str(RESULTS), *again], check=True
        )
    found = Measurements.read(RESULTS)
    if arguments.ask:
        parameters, batch_size, nodes, gigabits = arguments.ask
        step = asked(elsewhere(found), int(parameters), int(batch_size), int(nodes), gigabits)
        print(f"{THREADS} threads a node\n{parts(step)}")
        return
    DOCUMENT.write_text(renew(DOCUMENT.read_text("utf-8"), found), "utf-8")
    draw(found, IMAGES)


if __name__ == "__main__":
    main()
