"""The line that announces a started service."""

from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from batchgrad_service.announcement import print_ready
from batchgrad_service.settings import Settings

URL, TOKEN = "http://127.0.0.1:8711", "0123456789+abcdef"


@pytest.mark.parametrize(
    ("settings", "token", "journal", "link"),
    [
        ({}, TOKEN, False, f"{URL}/login#token=0123456789%2Babcdef"),
        ({}, TOKEN, True, URL),
        ({"token_file": "mine"}, TOKEN, False, URL),
        ({"no_token": True}, None, False, URL),
    ],
)
def test_the_login_link_is_not_printed_where_others_can_read_it(
    settings: dict[str, Any],
    token: str | None,
    journal: bool,
    link: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (tmp_path / "stderr").open("w") as stderr, redirect_stderr(stderr):
        file = (tmp_path / "stderr").stat()
        stream = f"{file.st_dev}:{file.st_ino}" if journal else "8:1"
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        print_ready(URL, Settings(data_dir=tmp_path, **settings), token)
    text = (tmp_path / "stderr").read_text()
    assert text == f"batchgrad is ready on {link} (data in {tmp_path})\n"
