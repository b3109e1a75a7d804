"""Find, and on request remove, files in a data directory that its database does not know.

A start of the service removes only unfinished files. Complete files are listed here first, because
a database that does not know them may be an older copy.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchgrad_engine.checkpoints.job_directory import is_unfinished
from batchgrad_service.data_directory.directory import DataDirectoryError
from batchgrad_service.data_directory.storage import open_storage
from batchgrad_service.datasets.blob_store import BlobStore
from batchgrad_service.datasets.upload_folder import is_uploaded
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store
from batchgrad_workers.system import files

_JOB = re.compile(r"job_[0-9a-hjkmnp-tv-z]{16}")
_PARAMETERS = ".safetensors"
_CODE = ".zip"

UNFINISHED = "was not written completely"
UNNAMED = "no dataset has this content, and no job that has not ended trains on it"
NO_START = "no job starts from it"
NO_TASK = "no job has its task in it"
NO_JOB = "the database does not know the job"
PUBLISHED = "in the blob store, and no dataset has this content"
UPLOADED = "an uploaded file, or a part of one, kept for a day in case it is used again"
STRANGE = "not a name that this service gives"


@dataclass(frozen=True)
class Leftover:
    """A file or directory; `ours` says whether its name is one that the service gives."""

    path: Path
    why: str
    ours: bool = True

    def bytes(self) -> int:
        """Return the size on the disk, not following links."""
        entries = [self.path]
        if self.path.is_dir() and not self.path.is_symlink():
            entries += self.path.rglob("*")
        return sum(512 * entry.lstat().st_blocks for entry in entries)


@dataclass(frozen=True)
class Removed:
    """A leftover, its size on the disk, and whether it was removed."""

    leftover: Leftover
    bytes: int
    gone: bool

    def as_dict(self) -> dict[str, str | int | bool]:
        """Return the leftover as JSON."""
        found = self.leftover
        return {
            "path": str(found.path),
            "why": found.why,
            "ours": found.ours,
            "bytes": self.bytes,
            "gone": self.gone,
        }


def find(data_dir: Path, store: Store) -> Iterator[Leftover]:
    """Yield entries that the database does not know or no service made, sorted by folder, name."""
    contents, parameters = _hex(store.needed_contents()), _hex(store.needed_parameters())
    jobs, ended = store.job_ids(), store.job_ids(ended=True)
    for entry in _entries(data_dir / "datasets"):
        yield from _judge(entry, files.is_content(entry.name), entry.name in contents, UNNAMED)
    for entry in _entries(data_dir / "uploads"):
        yield from _judge(entry, is_uploaded(entry.name), known=False, why=UPLOADED)
    for entry in _entries(data_dir / "parameters"):
        ours = entry.suffix == _PARAMETERS and files.is_content(entry.stem)
        yield from _judge(entry, ours, entry.stem in parameters, NO_START)
    code = _hex(store.needed_code())
    for entry in _entries(data_dir / "code"):
        ours = entry.suffix == _CODE and files.is_content(entry.stem)
        yield from _judge(entry, ours, entry.stem in code, NO_TASK)
    for entry in _entries(data_dir / "published"):
        yield from _judge(entry, files.is_content(entry.name), entry.name in contents, PUBLISHED)
    for entry in _entries(data_dir / "jobs"):
        yield from _judge(entry, bool(_JOB.fullmatch(entry.name)), entry.name in jobs, NO_JOB)
        if entry.name in ended:
            for file in _entries(entry):
                if is_unfinished(file.name):
                    yield Leftover(file, UNFINISHED)


def collect(
    settings: Settings, *, remove: bool, trust_database: bool
) -> tuple[list[Removed], bool]:
    """Return the data directory's leftovers, and whether the database may be trusted about them.

    If `remove`, leftovers are removed. A database that does not belong to the directory is not
    trusted, and nothing is removed, unless `trust_database`: then it belongs to it from now on.

    Raises:
        DataDirectoryError: the directory is missing, in use or not a service's.
        OSError, UnavailableError: something can't be removed.
    """
    if not settings.data_dir.exists():
        raise DataDirectoryError(f"There is no data directory {settings.data_dir}.")
    blobs = BlobStore(settings.blob_store) if settings.blob_store else None
    with open_storage(settings) as (directory, store, belongs):
        trusted = belongs or trust_database
        if trusted:
            directory.accept(store)
        found = list(find(settings.data_dir, store))
        acts = remove and trusted
        return [Removed(one, one.bytes(), acts and _delete(one, blobs)) for one in found], trusted


def _delete(leftover: Leftover, blobs: BlobStore | None) -> bool:
    """Remove a leftover, from the blob store too; False if no service made it."""
    published = leftover.path.parent.name == "published"
    if not leftover.ours or (published and blobs is None):
        return False
    if published and blobs is not None:
        blobs.remove(f"sha256:{leftover.path.name}")
    files.remove(leftover.path)
    return True


def _judge(entry: Path, ours: bool, known: bool, why: str) -> Iterator[Leftover]:
    if files.is_temporary(entry.name):
        yield Leftover(entry, UNFINISHED)
    elif not ours:
        yield Leftover(entry, STRANGE, ours=False)
    elif not known:
        yield Leftover(entry, why)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _hex(digests: set[str]) -> set[str]:
    return {files.hex_of(digest) for digest in digests}
