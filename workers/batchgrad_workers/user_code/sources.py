"""Sources of a user's code: a zip file that is unpacked, a folder, or what is installed."""

import atexit
import fcntl
import hashlib
import importlib
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from types import ModuleType

from batchgrad_workers.user_code.errors import UserCodeError

_PREFIX, _LOCK = "batchgrad-code-", "lock"
_STARTING_SECONDS = 60.0
"""Younger folders may not be locked yet."""


@dataclass(frozen=True)
class CodeSource:
    """Where a task's code is; without `path` and `content` it is installed, or in `search_path`.

    `path` is a zip file, such as a wheel, or a folder on this host; `content` are the zip file's
    bytes, for hosts that do not have it, and `digest` is their SHA-256. `search_path` is a folder
    whose modules can be imported too.
    """

    path: Path | None = None
    digest: str = ""
    content: bytes | None = field(default=None, repr=False, compare=False)
    search_path: Path | None = None

    def with_content(self) -> "CodeSource":
        """The same, with the zip file's bytes, for other hosts."""
        if self.path is None or self.path.is_dir():
            return self
        return replace(self, content=self.path.read_bytes())


@contextmanager
def importable(source: CodeSource | None) -> Iterator[Path | None]:
    """Inside, the modules of `source` come first when something is imported.

    Gives the folder with its code, None if it is installed. A zip file is unpacked into a folder
    of this process, since a module may read files beside it; both the folder and the modules from
    it are forgotten at the end.

    Raises:
        UserCodeError: the zip file is missing, or has another digest.
    """
    with ExitStack() as stack:
        code = None
        if source is not None and (source.path or source.content is not None):
            code = source.path
            if code is None or not code.is_dir():
                code = stack.enter_context(_unpacked(source))
        folders = [str(each) for each in (code, source and source.search_path) if each]
        sys.path[:0] = folders
        importlib.invalidate_caches()
        try:
            yield code
        finally:
            for folder in folders:
                if folder in sys.path:  # what was imported may have changed it
                    sys.path.remove(folder)
            if code is not None:
                _forget_modules(code)


@cache
def keep_importable(source: CodeSource) -> Path | None:
    """`importable` until the process ends; the same folder for the same source."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(importable(source))


def is_within(module: ModuleType, folder: Path) -> bool:
    """Whether a module's file, or its folder without one, is in `folder`."""
    file, path = getattr(module, "__file__", None), getattr(module, "__path__", None)
    # Those of torch.classes are no paths.
    places = [file, *(path if isinstance(path, Iterable) else [])]
    return any(Path(place).is_relative_to(folder) for place in places if isinstance(place, str))


@contextmanager
def _unpacked(source: CodeSource) -> Iterator[Path]:
    content = source.content
    if content is None and source.path is not None:
        try:
            content = source.path.read_bytes()
        except FileNotFoundError as error:
            raise UserCodeError(
                f"The uploaded code {source.path} is missing: submit the job again."
            ) from error
    content = content or b""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if source.digest and digest != source.digest:
        raise UserCodeError(
            f"The uploaded code has the digest {digest}; expected {source.digest}: upload it again."
        )
    _remove_leftovers()
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX) as folder,
        Path(folder, _LOCK).open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = Path(folder).resolve() / "code"
        with zipfile.ZipFile(BytesIO(content)) as archive:
            archive.extractall(code)  # keeps within it; the service has checked names and sizes
        yield code


def _remove_leftovers() -> None:
    """Remove folders of processes that were killed: nobody holds their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or just removed by its owner
            if folder.stat().st_mtime > time.time() - _STARTING_SECONDS:
                continue
            with (folder / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)


def _forget_modules(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        if is_within(module, folder):
            del sys.modules[name]
