"""Open the data directory and its database together."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util import CommandError

from batchgrad_service.data_directory.directory import DataDirectory, DataDirectoryError
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store, StoreUnavailable


@contextmanager
def open_storage(
    settings: Settings, *, only_new: bool = False
) -> Iterator[tuple[DataDirectory, Store, bool]]:
    """The locked data directory, its migrated database, and whether they belong together.

    Raises:
        DataDirectoryError: directory or database cannot be used.
    """
    directory = DataDirectory(settings.data_dir)
    directory.lock(settings.url_of_database, only_new=only_new)
    try:
        store = Store(settings.url_of_database)
        try:
            matches = _prepare(directory, store)
            yield directory, store, matches
        finally:
            store.close()
    finally:
        directory.unlock()


def _prepare(directory: DataDirectory, store: Store) -> bool:
    """Check and migrate the database, then `DataDirectory.match` it."""
    try:
        store.check()
        store.migrate()
        return directory.match(store)
    except StoreUnavailable as error:
        raise DataDirectoryError(error.detail) from error
    except CommandError as error:
        raise DataDirectoryError(
            f"The database of {directory.path} was made by a newer version of batchgrad ({error}): "
            "start that version."
        ) from error
    except OSError as error:
        raise DataDirectoryError(f"{directory.path} cannot be written to: {error}.") from error
