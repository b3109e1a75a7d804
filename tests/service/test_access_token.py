"""The access token: created, read, and refused if it is weak."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchgrad_service import access_token
from batchgrad_service.settings import Settings

TOKEN = "0123456789abcdef-token"  # noqa: S105 - opens nothing but this test


def test_the_first_start_creates_a_private_token(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    token = access_token.obtain(settings)
    assert token is not None
    assert len(token) == 64
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert access_token.obtain(settings) == token
    other = tmp_path / "other"
    other.mkdir()
    assert access_token.obtain(Settings(data_dir=other)) != token


def test_no_token_is_created_if_not_needed(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text(f" {TOKEN}\n")
    given.chmod(0o640)
    folder = tmp_path / "data"
    folder.mkdir()
    with capture_logs() as logged:
        assert access_token.obtain(Settings(data_dir=folder, token_file=given)) == TOKEN
        assert access_token.obtain(Settings(data_dir=folder, no_token=True)) is None
    assert list(folder.iterdir()) == []
    assert logged == []


def test_an_unwritable_token_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/token cannot be written: "):
        access_token.obtain(Settings(data_dir=tmp_path / "file"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "16 or more"),
        (b"short", "16 or more"),
        (b"two words in one file", "without spaces"),
        (b"\xff" * 20, "cannot be read"),
        ("schlüssel-schlüssel".encode(), "ASCII"),
        (b"a" * 16, "only 1 different"),
        (b"abab" * 16, "only 2 different"),
        (b"1234" * 4, "only 4 different"),
    ],
)
def test_a_weak_token_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ValueError, match="cannot be read"):
        access_token.read(file)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        access_token.read(file)


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_a_token_file_that_others_can_write_is_refused(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)
    with pytest.raises(ValueError, match="chmod go-w"):
        access_token.read(file)


def test_a_token_file_that_others_can_read_gives_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    with capture_logs() as logged:
        assert access_token.obtain(Settings(data_dir=tmp_path, token_file=file)) == TOKEN
    [warning] = logged
    assert warning["log_level"] == "warning"
    assert f"chmod o-r {file}" in warning["remedy"]
    assert TOKEN not in str(warning)
