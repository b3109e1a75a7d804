"""A Docker engine for the tests, and base images that are built instead of pulled.

The engine shares nothing with another engine on this machine: it has its own folder and socket, no
bridge and no firewall rule. Images from Debian's packages get the names that the Dockerfile
and docker-compose.yml use.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.deploy.deployed import ROOT

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Finds Debian's docker, which builds with BuildKit, before another one in PATH."""

TOOLS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "docker-compose": "docker-compose",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "setpriv": "util-linux",
}
"""Debian's package of each program; `python -m tests.containers` installs missing ones."""

START_SECONDS = 60
STOP_SECONDS = 60
FOLDER_PREFIX = "batchgrad-docker-"
_FOR_PIP = ("PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class EngineUnavailableError(Exception):
    """No engine can run on this machine; the message says why."""


class Engine:
    """A `dockerd` process, which ends with the process that started it."""

    def __init__(self) -> None:
        """Start `dockerd`.

        Raises:
            EngineUnavailableError: root rights or a kernel feature is missing.
        """
        if os.geteuid() != 0:
            raise EngineUnavailableError("only root can start a Docker engine")
        _remove_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self.environment = {
            "PATH": PATH,
            "HOME": str(self.folder),
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_BUILDKIT": "1",
        }
        self._log = self.folder / "dockerd.log"
        for driver in ("overlay2", "vfs"):
            self._process = self._start(driver)
            if self._answers():
                return
            self._end()
        last = self._log.read_text(encoding="utf-8", errors="replace").strip()[-1500:]
        self.remove()
        raise EngineUnavailableError(f"dockerd does not start here; the end of its log:\n{last}")

    def run(self, *command: str | Path, seconds: float = 120) -> str:
        """Run a tool in the repository's root; return its stdout, or raise AssertionError."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode != 0:
            output = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{output}")
        return done.stdout.strip()

    def import_debian(self, name: str, *options: str, changes: tuple[str, ...] = ()) -> None:
        """Build a small Debian image under the name of an image that is normally pulled.

        Raises:
            EngineUnavailableError: Debian's packages are not available, or a container has no
                network of its own, as inside a container that is not privileged.
        """
        archive = self.folder / "debian.tar"
        make = ("mmdebstrap", "--quiet", "--variant=minbase", *options, "bookworm")
        settings = [part for change in changes for part in ("--change", change)]
        try:
            self.run(*make, archive, seconds=300)
            self.run("docker", "import", *settings, archive, name, seconds=300)
            self.run("docker", "network", "create", "trial")
            try:
                self.run("docker", "run", "--rm", "--network=trial", "--entrypoint=true", name)
            finally:
                self.run("docker", "network", "rm", "trial")
        except AssertionError as error:
            raise EngineUnavailableError(str(error)) from error
        archive.unlink()

    def remove(self) -> None:
        """Stop `dockerd` and delete its files, mounts and cgroups."""
        self._end()
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        for point in sorted((line.split()[1] for line in mounts), reverse=True):
            if point.startswith(f"{self.folder}/"):
                self.run("umount", point)
        for group in sorted(
            Path("/sys/fs/cgroup").glob(f"**/{self.folder.name}/**/"), reverse=True
        ):
            group.rmdir()
        shutil.rmtree(self.folder)

    def _start(self, driver: str) -> subprocess.Popen[bytes]:
        own = {
            "host": self.environment["DOCKER_HOST"],
            "data-root": self.folder / "data",
            "exec-root": self.folder / "exec",
            "pidfile": self.folder / "docker.pid",
        }
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM", "dockerd"),
                    *("--iptables=false", "--ip6tables=false", "--ip-forward=false"),
                    *("--bridge=none", f"--storage-driver={driver}"),
                    f"--cgroup-parent=/{self.folder.name}",
                    *(f"--{option}={value}" for option, value in own.items()),
                ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.run("docker", "version")
            except AssertionError:
                time.sleep(0.2)
            else:
                return True
        return False

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def make_images(engine: Engine) -> None:
    """Build the base images of the Dockerfile and docker-compose.yml, then the project's image."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    (base,) = set(re.findall(r"^FROM (\S+:\S+)", dockerfile, re.MULTILINE))
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    (prometheus,) = re.findall(r"image: (prom/prometheus:\S+)", compose)
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    known = [f"{name}={os.environ[name]}" for name in _FOR_PIP if name in os.environ]
    engine.import_debian(
        base,
        "--include=ca-certificates",
        *([f"--customize-hook=upload {certificates} /opt/ca.pem"] if certificates.exists() else []),
        changes=tuple(f"ENV {setting}" for setting in ["PIP_CERT=/opt/ca.pem", *known]),
    )
    engine.import_debian(
        prometheus,
        "--include=prometheus,wget",
        "--customize-hook=install --directory --owner=65534 --group=65534 $1/prometheus",
        changes=('ENTRYPOINT ["/usr/bin/prometheus"]', "USER 65534"),
    )
    engine.run(
        *("docker", "build", "--quiet", "--network=host"),
        *("--file", "deploy/Dockerfile", "--tag", "batchgrad", "."),
        seconds=900,
    )


def _remove_leftovers() -> None:
    """Delete folders of earlier engines whose tests were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        pid_file = folder / "docker.pid"
        if not (pid_file.exists() and Path("/proc", pid_file.read_text().strip()).exists()):
            shutil.rmtree(folder, ignore_errors=True)
