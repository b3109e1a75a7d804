"""Long content is stored on disk and made once for all of its readers."""

import io
from pathlib import Path

import pytest

from batchgrad_service.http.spool import IN_MEMORY_BYTES, Spool

LONG = bytes(range(256)) * (IN_MEMORY_BYTES // 128)


@pytest.mark.parametrize("content", [b"", b"short", LONG])
def test_content_is_unchanged(tmp_path: Path, content: bytes) -> None:
    with Spool(tmp_path).file(content) as file:
        assert file.seek(0, io.SEEK_END) == len(content)
        file.seek(0)
        assert file.read(10) + file.read() == content
    assert list(tmp_path.iterdir()) == []


def test_readers_at_the_same_time_share_a_file(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), []

    def make() -> bytes:
        made.append(1)
        return LONG

    with spool.shared_file("a", make) as first:
        assert first.read(3) == LONG[:3]
        with spool.shared_file("a", make) as second:
            assert second.read() == LONG
        assert first.read() == LONG[3:]
        assert len(made) == 1
        with spool.shared_file("b", make):
            assert len(made) == 2
    assert not spool._shared
    with spool.shared_file("a", make):
        assert len(made) == 3
