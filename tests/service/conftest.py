from collections.abc import Iterator
from pathlib import Path

import pytest

from batchgrad_service.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/batchgrad.sqlite3")
    opened.migrate()
    yield opened
    opened.close()
