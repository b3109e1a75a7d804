"""Hosts: namespaces of one machine, each with its own network, processes, /tmp, /dev/shm, name.

    world   br0 10.77.0.1 ── cable1 ─── eth0 10.77.0.11  host
                          └─ cable2 ─── eth0 10.77.0.12  host

A host lives as long as its first process, which reads from a pipe of ours and reaps orphans.
"""

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
"""Visible to every host, even below /tmp (each host has its own /tmp)."""

INSIDE = "TEST_BATCHGRAD_NAMESPACES"
"""Environment variable of a pytest process that may create hosts."""

UNSHARE = (
    *("unshare", "--mount", "--net", "--pid", "--uts", "--ipc"),
    *("--fork", "--kill-child", "--mount-proc"),
)
NETWORK = "10.77.0"
SHARED_MEMORY, RAY_FOLDER = "/dev/shm", "/tmp/ray"  # noqa: S108  (each host has its own)
RUN_SECONDS = 60.0
FIRST_PROCESS = """
set -e
hostname "$1"
exec 9< "$3"
mount -t tmpfs -o size=1g,mode=1777 tmpfs /tmp
if ! [ -e "$3" ]; then mkdir -p "$3"; mount --no-canonicalize --bind /proc/self/fd/9 "$3"; fi
exec 9<&-
mount -t tmpfs -o "size=$2,mode=1777" tmpfs /dev/shm
mkdir /tmp/home
ip link set lo up
echo ready
while read -r _; do :; done
"""


def run(*command: str) -> str:
    """Run a command; return its stdout. Raises RuntimeError with its stderr if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=RUN_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Traffic:
    """Bytes through a host's interface: Ethernet, IP and TCP headers included."""

    into: int
    out: int

    def __sub__(self, before: "Traffic") -> "Traffic":
        return Traffic(self.into - before.into, self.out - before.out)


class Host:
    """A host. The other hosts reach it at `address`."""

    def __init__(self, number: int, name: str, shared_memory_bytes: int) -> None:
        self.name = name
        self.address = f"{NETWORK}.{10 + number}"
        self._cable = f"cable{number}"
        arguments = (name, str(shared_memory_bytes), str(CHECKOUT))
        self._parent = subprocess.Popen(
            [*UNSHARE, "bash", "-c", FIRST_PROCESS, "bash", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if self._parent.stdout is None or self._parent.stdout.readline() != "ready\n":
            self._parent.kill()
            raise RuntimeError(f"The host {name} did not start; its stderr is above.")
        children = Path(f"/proc/{self._parent.pid}/task/{self._parent.pid}/children").read_text()
        self._first = children.strip()
        peer = ("type", "veth", "peer", "name", "eth0", "netns", self._first)
        run("ip", "link", "add", self._cable, *peer)
        run("ip", "link", "set", self._cable, "master", "br0", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", f"{NETWORK}.1")

    def command(self, *command: str) -> list[str]:
        """The command line that runs `command` on this host."""
        enter = ("nsenter", "--target", self._first, "--mount", "--net", "--pid", "--uts", "--ipc")
        return [*enter, "--", *command]

    def run(self, *command: str) -> str:
        """Run a command on this host; return its stdout."""
        return run(*self.command(*command))

    def start(self, *command: str, log: Path) -> "subprocess.Popen[bytes]":
        """Start a command on this host; its output goes to `log`."""
        with log.open("a") as output:
            return subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def processes(self, pattern: str) -> list[int]:
        """Pids, in this host's namespace, of processes whose command line contains `pattern`."""
        lines = self.run("ps", "-eww", "-o", "pid=,stat=,args=").splitlines()
        rows = [line.split(maxsplit=2) for line in lines]
        return [int(pid) for pid, state, args in rows if pattern in args and state[0] not in "ZX"]

    def send(self, sent: signal.Signals, pids: Sequence[int]) -> None:
        """Send a signal to processes, by their pids in this host's namespace."""
        self.run("kill", f"-{sent.value}", *map(str, pids))

    def files(self, folder: str) -> set[str]:
        """Names of the files in a folder of this host."""
        return set(self.run("ls", "-A", folder).split())

    def traffic(self) -> Traffic:
        """Bytes that its cable has carried so far."""
        [link] = json.loads(run("ip", "-s", "-j", "link", "show", self._cable))
        figures = link["stats64"]
        return Traffic(into=figures["tx"]["bytes"], out=figures["rx"]["bytes"])

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Disconnect the host's cable while the block runs."""
        run("ip", "link", "set", self._cable, "down")
        try:
            yield
        finally:
            run("ip", "link", "set", self._cable, "up")

    def shape(self, megabits: int | None) -> None:
        """Limit each direction of the link to `megabits` per second; None removes the limit."""
        limit = ("tbf", "rate", f"{megabits}mbit", "burst", "128kb", "latency", "100ms")
        for where, device in ((run, self._cable), (self.run, "eth0")):
            if megabits is None:
                where("tc", "qdisc", "delete", "dev", device, "root")
            else:
                where("tc", "qdisc", "replace", "dev", device, "root", *limit)

    def end(self) -> None:
        """Kill every process on the host, as a power failure does."""
        self._parent.kill()
        self._parent.wait()
        for pipe in (self._parent.stdin, self._parent.stdout):
            if pipe:
                pipe.close()


def make_bridge() -> None:
    """Create the bridge that connects all cables, with pytest's own address."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "address", "add", f"{NETWORK}.1/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
