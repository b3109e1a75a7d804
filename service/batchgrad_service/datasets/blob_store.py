"""The blob store: dataset contents by their hash, at an fsspec URL that all nodes reach."""

from pathlib import Path
from typing import Any

import fsspec

from batchgrad_service.problems import UnavailableError
from batchgrad_workers.system.files import hex_of


class BlobStore:
    """The contents below `url`: HASH/NAME.npy."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url_of(self, digest: str) -> str:
        """Return the URL of the content with this digest."""
        return f"{self._url}/{hex_of(digest)}"

    def publish(self, digest: str, directory: Path) -> None:
        """Copy the files of a content that are not in the store yet.

        Raises:
            UnavailableError: the store does not take it.
        """
        try:
            store, place = self._open(digest)
            for file in sorted(directory.iterdir()):
                blob = f"{place}/{file.name}"
                if not store.exists(blob) or store.size(blob) != file.stat().st_size:
                    store.makedirs(place, exist_ok=True)
                    store.put_file(str(file), blob)
        except Exception as error:  # each store's library has exceptions of its own
            raise _unavailable(self._url, error) from error

    def remove(self, digest: str) -> None:
        """Remove a content, if it is in the store.

        Raises:
            UnavailableError: the store does not let go of it.
        """
        try:
            store, place = self._open(digest)
            if store.exists(place):
                store.rm(place, recursive=True)
        except Exception as error:
            raise _unavailable(self._url, error) from error

    def _open(self, digest: str) -> tuple[Any, str]:
        found: tuple[Any, str] = fsspec.url_to_fs(self.url_of(digest))
        return found


def _unavailable(url: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"The blob store {url} failed ({type(error).__name__}: {error}); repair it, or start the "
        "service without --blob-store (BATCHGRAD_BLOB_STORE).",
        code="blob_store_unavailable",
    )
