"""Tables and plots of how far a job scales, from a model of one step and measurements.

python -m benchmarks.scale              rewrite docs/explanation/scale.md from stored results
python -m benchmarks.scale --measure    measure first (Linux, root; about ten minutes)
python -m benchmarks.scale --predict 1e8 65536 32 10   print one step, from P, N, nodes, Gbit/s
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.scaling.document import DOCUMENT, IMAGES, renew
from benchmarks.scaling.fitting import elsewhere
from benchmarks.scaling.measured import Measurements
from benchmarks.scaling.plots import draw
from benchmarks.scaling.predictions import THREADS, step_on
from benchmarks.scaling.tables import parts

RESULTS = Path(__file__).parent / "results-scale.json"


def main() -> None:
    """Measure if requested; then print one prediction, or write tables and plots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure first")
    parser.add_argument("--again", action="store_true", help="with --measure: only disturbed cases")
    parser.add_argument("--predict", nargs=4, type=float, metavar=("P", "N", "NODES", "GBITS"))
    arguments = parser.parse_args()
    if arguments.measure:
        again = ["--again"] if arguments.again else []
        subprocess.run(
            [sys.executable, "-m", "benchmarks.scaling.hosts", str(RESULTS), *again], check=True
        )
    found = Measurements.read(RESULTS)
    if arguments.predict:
        parameters, batch_size, nodes, gigabits = arguments.predict
        step = step_on(elsewhere(found), int(parameters), int(batch_size), int(nodes), gigabits)
        print(f"{THREADS} threads a node\n{parts(step)}")
        return
    DOCUMENT.write_text(renew(DOCUMENT.read_text("utf-8"), found), "utf-8")
    draw(found, IMAGES)


if __name__ == "__main__":
    main()
