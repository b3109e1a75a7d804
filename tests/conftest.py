import batchgrad_workers  # noqa: F401  # before numpy: engines and tests shall compute equal bits

# isort: split
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(  # other work of the machine may delay any example
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database to copy: to migrate one takes longer than most tests that use it."""
    from batchgrad_service.store import Store  # noqa: PLC0415 (most folders need no database)

    file = tmp_path_factory.mktemp("migrated") / "batchgrad.sqlite3"
    store = Store(f"sqlite:///{file}")
    store.migrate()
    store.close()
    return file
