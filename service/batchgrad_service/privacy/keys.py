"""The secret keys of private jobs: files in the data directory, from submission to a job's end."""

import logging
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from batchgrad.contract import Plan
from batchgrad_workers.privacy.keys import KEY_BYTES

log = logging.getLogger(__name__)

FOLDER = "keys"

UNSAFE_WARNING = (
    "The service has a fixed key (unsafe_privacy_key), as in tests: whoever knows it sees through "
    "the noise, so the job protects nobody and claims no epsilon."
)


class KeyGoneError(Exception):
    """A private job has no key any more, so it cannot run."""


class Keys:
    """One file of KEY_BYTES random bytes for each private job that has not ended.

    Sampling and noise follow from the key, so who reads it sees through the noise: only the
    service's user can read it. A key that is destroyed is unlinked. It isn't overwritten: solid
    state disks and file systems that copy on write keep the old bytes anyway. `fixed` (64 hex
    digits), for tests, takes the place of random bytes.
    """

    def __init__(self, data_dir: Path, fixed: str | None = None) -> None:
        self._folder = data_dir / FOLDER
        self._fixed = fixed

    def marked(self, plan: Plan) -> Plan:
        """The plan of a private job; under a fixed key it claims no ε, and warns."""
        if self._fixed is None or plan.privacy is None:
            return plan
        privacy = plan.privacy.model_copy(update={"epsilon": None, "unsafe": True})
        return plan.model_copy(
            update={"privacy": privacy, "warnings": [*plan.warnings, UNSAFE_WARNING]}
        )

    def keep(self, job_id: str) -> None:
        """Make and store a job's key; it is on the disk when this returns.

        Raises:
            FileExistsError: the job has a key.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = secrets.token_bytes(KEY_BYTES) if self._fixed is None else bytes.fromhex(self._fixed)
        file = os.open(self._folder / job_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as written:
            written.write(key)
            written.flush()
            os.fsync(written.fileno())
        self._sync()

    def of(self, job_id: str) -> str:
        """A job's key in hex.

        Raises:
            KeyGoneError: it is missing, or not a whole key.
        """
        path = self._folder / job_id
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            raise KeyGoneError(_gone(path, "is missing")) from None
        if len(key) != KEY_BYTES:
            raise KeyGoneError(_gone(path, f"has {len(key)} bytes, expected {KEY_BYTES}"))
        return key.hex()

    def destroy(self, job_id: str) -> None:
        """Remove a job's key; one that is not there is removed."""
        with suppress(FileNotFoundError):
            (self._folder / job_id).unlink()
            self._sync()

    def sweep(self, needed: Collection[str]) -> int:
        """Destroy the keys of all jobs but the `needed` ones; return how many there were."""
        found = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        left = [path.name for path in found if path.name not in needed]
        for name in left:
            self.destroy(name)
        return len(left)

    def _sync(self) -> None:
        """Make a change of the folder durable."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _gone(path: Path, how: str) -> str:
    return (
        f"The job's key {path} {how}, so its noise cannot be drawn again: restore the file from a "
        "backup of the data directory, or submit a job that starts from this one's parameters; "
        "the epsilon of both adds up."
    )
