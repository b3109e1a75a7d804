"""`python -m tests.cluster`: pytest on tests/cluster in namespaces of its own.

Network, processes, mounts and host name are all new, and pytest is process number 1 in them: when
it ends, even by SIGKILL, the kernel ends every process that it started, and with the last of them
bridges, interfaces and mounts are gone. So nothing is left to clean up, runs at the same time do
not meet, and no packet finds a way out.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tests.cluster.hosts import INSIDE, UNSHARE
from tests.debian import cannot, need

PACKAGES = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "tc": "iproute2"}
LIMIT_SECONDS = 1200
TRIAL = "ip link add trial type bridge && tc qdisc add dev trial root tbf rate 1mbit burst 9k lat 9"


def main() -> None:
    """Become pytest inside; what follows on the command line is pytest's."""
    become(
        "test-cluster", [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    )


def become(target: str, command: Sequence[str]) -> NoReturn:
    """Become `command` in namespaces where it may make hosts, or end and say why not."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps ip, and users do not look
    need(target, PACKAGES)
    trial = subprocess.run(
        [*UNSHARE, "sh", "-c", TRIAL], check=False, capture_output=True, text=True
    )
    if trial.returncode:
        cannot(
            target,
            "it needs network, process and mount namespaces of its own, and may not have them: "
            f"{trial.stderr.strip()}\nRun it as root, on Linux, in a container only with "
            "--privileged.",
        )
    os.environ[INSIDE] = "1"
    limit = ("timeout", "--foreground", "--signal=KILL", str(LIMIT_SECONDS))
    os.execvp(limit[0], [*limit, *UNSHARE, *command])  # noqa: S606  (without a shell on purpose)


if __name__ == "__main__":
    main()
