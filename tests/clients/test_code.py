"""Code that a client sends: folders, wheels and zips, and the digest in the spec."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from batchgrad.data import code as code_files
from batchgrad.data.code import open_code
from batchgrad.errors import FileFailed, InvalidArgument
from tests.clients.fake_uploads import FakeUploads

FILES = {
    "nets/__init__.py": "",
    "nets/net.py": "WIDTH = 3\n",
    "nets/words.txt": "a b",
    "train.py": "print(1)\n",
    ".git/config": "secret",
    ".env": "secret",
    "nets/__pycache__/net.cpython-311.pyc": "x",
    "nets/old.pyc": "x",
    "own/pyvenv.cfg": "x",
    "own/lib/six.py": "x",
    "venv/lib/six.py": "x",
    "nets.egg-info/PKG-INFO": "x",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    for name, text in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    (made / "link.py").symlink_to("missing.py")
    return made


def content(path: Path) -> bytes:
    with open_code(path) as source:
        return source.read(0, source.length)


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content(path))) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_a_folder_becomes_its_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ["nets/__init__.py", "nets/net.py", "nets/words.txt", "train.py"]
    assert names(folder) == kept
    monkeypatch.chdir(folder)
    assert names(Path()) == kept
    with open_code(".") as source:
        assert source.name == "work.zip"


def test_a_folder_that_is_a_package_keeps_its_name(folder: Path) -> None:
    assert names(folder / "nets") == ["nets/__init__.py", "nets/net.py", "nets/words.txt"]


def test_a_module_is_code_too(folder: Path) -> None:
    assert names(folder / "train.py") == ["train.py"]


def test_the_same_code_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name in reversed(FILES):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(FILES[name])
        os.utime(other / name, (1, 1))
        (other / name).chmod(0o700)
    assert content(folder) == content(other)
    (other / "train.py").write_text("print(2)\n")
    assert content(folder) != content(other)


def test_a_wheel_is_sent_as_it_is(tmp_path: Path) -> None:
    wheel = tmp_path / "nets-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nets/__init__.py", "")
    assert content(wheel) == wheel.read_bytes()


def test_what_is_no_code_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong: list[tuple[Any, type[Exception], str]] = [
        (empty, InvalidArgument, "holds no Python files"),
        (folder / ".env", InvalidArgument, "neither a folder, a Python file, a wheel nor"),
        (folder / "none", FileFailed, "none cannot be read"),
        (7, InvalidArgument, "code is a int; expected a path"),
        ("", InvalidArgument, "not the name of a file"),
        ("a\0b", InvalidArgument, "not the name of a file"),
    ]
    for path, kind, message in wrong:
        with pytest.raises(kind, match=message):
            content(path)
    monkeypatch.setattr(code_files, "MOST_BYTES", 100)
    with pytest.raises(InvalidArgument, match="at most 100 are allowed"):
        content(folder)
    monkeypatch.setattr(code_files, "MOST_FILES", 2)
    with pytest.raises(InvalidArgument, match="with more than 2 files"):
        content(folder)


def test_large_files_are_left_out_and_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_files, "MOST_FILE_BYTES", 2)
    with pytest.warns(UserWarning, match=r"1 files of more than 2 bytes .* nets/words\.txt first"):
        assert "nets/words.txt" not in names(folder)


class Service(FakeUploads):
    """Takes code, and creates a job."""

    job: Any = None

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/jobs":
            self.job = json.loads(request.content)
            return self.kit.answer(201, self.kit.job())
        return super().__call__(request)


def spec(kit: Any) -> dict[str, Any]:
    model = {"torch": "nets.net:build", "config": {"width": 3}}
    kept = {key: value for key, value in kit.SPEC.items() if key != "loss"}
    return {**kept, "model": model}


def test_submit_sends_code_and_names_its_digest(kit: Any, folder: Path) -> None:
    service = Service(kit)
    with kit.Script(service).client() as client:
        client.submit(spec(kit), code=folder)
    [(digest, sent)] = service.parts.items()
    assert sent == content(folder)
    assert service.job["model"] == {**spec(kit)["model"], "code": digest}


def test_the_command_sends_code(kit: Any, run: Any, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec(kit)))
    service = Service(kit)
    done = run(kit.Script(service), "submit", str(path), "--code", str(folder))
    assert (done.exit_code, done.stdout) == (0, "job_1\n")
    [digest] = service.parts
    assert service.job["model"]["code"] == digest


def test_code_is_for_a_function(kit: Any, folder: Path) -> None:
    script = kit.Script(kit.answer(201, kit.job()))
    with script.client() as client:
        with pytest.raises(InvalidArgument, match=r"model: \{torch: package:build\}"):
            client.submit(kit.SPEC, code=folder)
        with pytest.raises(InvalidArgument, match="got data, loss, batch_size beside a spec"):
            client.submit(kit.SPEC, "digits", loss="mse", batch_size=3)
        with pytest.raises(InvalidArgument, match="a spec is keys and values, got a str"):
            client.submit("spec.yaml", code=folder)
    assert script.seen == []
