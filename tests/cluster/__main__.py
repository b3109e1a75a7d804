"""`python -m tests.cluster`: run pytest on tests/cluster in new namespaces.

Network, processes, mounts and host name are new, and pytest has pid 1 in them: when
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
    """Replace this process by pytest in new namespaces; pass the command line on."""
    become(
        "test-cluster", [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    )


def become(target: str, command: Sequence[str]) -> NoReturn:
    """Replace this process by `command` in new namespaces; exit with the reason if that fails."""
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
