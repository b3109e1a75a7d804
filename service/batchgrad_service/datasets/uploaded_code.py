"""Code that PyTorch jobs bring along: zip files that are named by the SHA-256 of their bytes."""

import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from batchgrad_service.datasets.careful_zip import UNREADABLE, CarefulFile, refused_compression
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.problems import InvalidError
from batchgrad_service.store import Store
from batchgrad_service.validation.torch.rules import code_file
from batchgrad_workers.system.files import remove_temporaries, write_atomically

POINTER = "/model/code"
MAX_BYTES = 64 * 2**20
MAX_UNPACKED_BYTES = 512 * 2**20
MAX_FILES = 10_000
_DIRECTORY_BYTES = 4 * 2**20
_REMEDY = "send a wheel, or a zip file with the package in it"


class UploadedCode:
    """Zip files below `data_dir`, each kept as long as a job needs it; from any thread."""

    def __init__(self, data_dir: Path, store: Store, uploads: UploadedFiles) -> None:
        self._directory = data_dir / "code"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._uploads = uploads
        self._lock = threading.RLock()
        self._users: Counter[str] = Counter()  # how many callers are inside `using`, by digest

    def clean(self) -> None:
        """At the service's start, remove files that were not written completely."""
        remove_temporaries(self._directory)

    def path(self, digest: str) -> Path:
        """Where the file with this digest is kept."""
        return code_file(self._directory.parent, digest)

    @contextmanager
    def using(self, digest: str) -> Iterator[Path]:
        """The checked file: a job's, or one that was uploaded; kept during the block.

        After the block it stays only if a stored job needs it.

        Raises:
            InvalidError: it was not uploaded, is too large, or is no harmless zip file.
        """
        with self._lock:
            if not self.path(digest).exists():
                self._take(digest)
            self._users[digest] += 1
        try:
            yield self.path(digest)
        finally:
            with self._lock:
                self._users[digest] -= 1
                self.drop_unused(digest)

    def drop_unused(self, digest: str | None) -> None:
        """Remove a file if no job needs it any longer."""
        with self._lock:
            if digest is None or self._users[digest] or self._store.code_in_use(digest):
                return
            self.path(digest).unlink(missing_ok=True)

    def _take(self, digest: str) -> None:
        with self._uploads.using(digest, POINTER) as uploaded:
            size = uploaded.stat().st_size
            if size > MAX_BYTES:
                raise _refused(f"has {size} bytes, at most {MAX_BYTES} are allowed: {_REMEDY} only")
            check_archive(uploaded)
            write_atomically(self.path(digest), uploaded.read_bytes())


def check_archive(path: Path) -> None:
    """Check that a zip file can be unpacked without harm, and holds a Python module.

    Raises:
        InvalidError: it cannot, or holds none.
    """
    try:
        with CarefulFile(path, _DIRECTORY_BYTES) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except UNREADABLE as error:
        raise _refused(f"is no readable zip file ({error!s:.200}): {_REMEDY}") from error
    if len(members) > MAX_FILES:
        raise _refused(f"holds {len(members)} files, at most {MAX_FILES} are allowed: {_REMEDY}")
    names = set[str]()
    for member in members:
        if fault := _fault(member, names):
            raise _refused(f"holds {member.filename!r:.200}, which {fault}: {_REMEDY}")
        names.add(member.filename)
    size = sum(member.file_size for member in members)
    if size > MAX_UNPACKED_BYTES:
        raise _refused(
            f"unpacks to {size} bytes, at most {MAX_UNPACKED_BYTES} are allowed: put large files "
            "into a dataset"
        )
    if not any(name.endswith((".py", ".so")) for name in names):
        raise _refused(f"holds no Python module: {_REMEDY}")


def _fault(member: zipfile.ZipInfo, names: set[str]) -> str | None:
    """What is wrong with a member, if anything."""
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or set(name) & set("\\:\0"):
        return "is no path inside of the archive"
    if name in names:
        return "is there twice"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & 1:
        return "is encrypted"
    if kind := refused_compression(member):
        return f"is compressed by {kind}, not by deflate"
    return None


def _refused(fault: str) -> InvalidError:
    return InvalidError.field(POINTER, f"The uploaded code {fault}.", code="bad_code")
