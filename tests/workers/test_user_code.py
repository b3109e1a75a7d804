"""The code of a PyTorch task: imported from where it is, with clear errors; no PyTorch."""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from batchgrad.contract.training.module import JobModel
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.user_code.digest import source_digest
from batchgrad_workers.user_code.errors import UserCodeError, private_errors, user_errors
from batchgrad_workers.user_code.loading import find_function
from batchgrad_workers.user_code.sources import CodeSource, importable

BUILD = "def build(config):\n    return config\n"
NAMES = iter(range(10_000))


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a package that no other test has imported."""
    made = f"given{os.getpid()}_{next(NAMES)}"
    yield made
    for module in [each for each in sys.modules if each.partition(".")[0] == made]:
        del sys.modules[module]


@pytest.fixture(autouse=True)
def _restored_path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


def archive(files: dict[str, str]) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for path, text in files.items():
            file.writestr(path, text)
    return content.getvalue()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def model(function: str) -> JobModel:
    return JobModel(torch=function, config={"width": 3})


def uploaded(files: dict[str, str]) -> CodeSource:
    content = archive(files)
    return CodeSource(digest=digest_of(content), content=content)


def in_folder(folder: Path, files: dict[str, str]) -> CodeSource:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return CodeSource(search_path=folder)


def test_uploaded_code_is_imported_with_the_files_beside_it(name: str) -> None:
    text = "from pathlib import Path\n\ndef build(config):\n    return Path(__file__).with_name"
    source = uploaded({f"{name}/__init__.py": text + "('a.txt').read_text()", f"{name}/a.txt": "A"})
    assert find_function(model(f"{name}:build"), source)({}) == "A"
    assert source_digest(model(f"{name}:build"), source) == source.digest


def test_code_and_modules_are_forgotten_at_the_end(name: str) -> None:
    path = list(sys.path)
    with importable(uploaded({f"{name}.py": BUILD})) as code:
        assert code is not None
        __import__(name)
        assert (code / f"{name}.py").exists()
    assert not code.exists()
    assert name not in sys.modules
    assert sys.path == path


def test_folders_of_killed_processes_are_removed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = archive({f"{name}.py": BUILD})
    killed = (
        "import os, sys, tempfile; from batchgrad_workers.user_code.sources import *\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "with importable(CodeSource(content=sys.stdin.buffer.read())): os._exit(9)"
    )
    command = [sys.executable, "-c", killed, str(tmp_path)]
    assert subprocess.run(command, input=content, check=False).returncode == 9
    [left] = tmp_path.iterdir()
    with importable(CodeSource(content=content)) as own:
        assert left.exists()  # it could be a process that starts
        os.utime(left, (0, 0))
        assert own is not None
        os.utime(own.parent, (0, 0))  # this one is in use
        with importable(CodeSource(content=content)):
            assert not left.exists()
            assert own.exists()


def test_a_path_gives_content_for_other_hosts(name: str, tmp_path: Path) -> None:
    content = archive({f"{name}.py": BUILD})
    file = tmp_path / "code"
    file.write_bytes(content)
    here = CodeSource(file, digest_of(content))
    there = here.with_content()
    file.unlink()
    with importable(there) as code:
        assert code is not None
        assert (code / f"{name}.py").read_text() == BUILD
    with pytest.raises(UserCodeError, match="is missing: submit the job again"), importable(here):
        pass


def test_other_content_is_refused() -> None:
    source = CodeSource(digest=digest_of(b"other"), content=archive({"a.py": BUILD}))
    with pytest.raises(UserCodeError, match=f"expected {source.digest}"), importable(source):
        pass


def test_a_module_of_a_search_path_is_imported(name: str, tmp_path: Path) -> None:
    source = in_folder(tmp_path, {f"{name}.py": BUILD})
    assert find_function(model(f"{name}:build"), source)(3) == 3


def test_the_digest_of_a_package_is_of_its_python_files(name: str, tmp_path: Path) -> None:
    source = in_folder(tmp_path, {f"{name}/__init__.py": BUILD, f"{name}/sub/parts.py": "a = 1\n"})
    spec = model(f"{name}:build")
    find_function(spec, source)
    first = source_digest(spec, source)
    in_folder(tmp_path, {f"{name}/data.txt": "1"})
    assert source_digest(spec, source) == first
    in_folder(tmp_path, {f"{name}/sub/parts.py": "a = 2\n"})
    assert source_digest(spec, source) != first


def test_the_digest_of_a_module_is_of_those_beside_it_that_it_imports(
    name: str, tmp_path: Path
) -> None:
    files = {f"{name}.py": f"import {name}_helper\n{BUILD}", f"{name}_helper.py": "a = 1\n"}
    source = in_folder(tmp_path, files)
    spec = model(f"{name}:build")
    find_function(spec, source)
    first = source_digest(spec, source)
    in_folder(tmp_path, {f"{name}_other.py": "a = 1\n"})
    assert source_digest(spec, source) == first
    in_folder(tmp_path, {f"{name}_helper.py": "a = 2\n"})
    assert source_digest(spec, source) != first


def test_an_error_tells_the_users_file_and_line(name: str, tmp_path: Path) -> None:
    text = "import json\n\ndef build(config):\n    return json.loads(config)\n"
    source = in_folder(tmp_path, {f"{name}/net.py": text})
    build = find_function(model(f"{name}.net:build"), source)
    message = rf"^{name}/net.py, line 4, in build: JSONDecodeError: Expecting value"
    with pytest.raises(UserCodeError, match=message), user_errors(name):
        build("?")


def test_every_error_has_a_message_that_can_be_sent() -> None:
    untold = type("Untold", (Exception,), {"__str__": lambda _: 1 // 0})
    wrong: list[tuple[Exception, str]] = [
        (untold(), r"Untold: its message can't be told \(ZeroDivisionError\)$"),
        (OSError("no file \udcff"), r"OSError: no file \\udcff$"),
        (OSError("z" * 10**6), r"OSError: z{2000}$"),
    ]
    for error, message in wrong:
        with pytest.raises(UserCodeError, match=message), user_errors("mine"):
            raise error


def test_an_error_in_another_module_of_the_user_tells_that_one(name: str, tmp_path: Path) -> None:
    files = {f"{name}.py": f"import {name}_helper\n", f"{name}_helper.py": "\nimport nowhere_\n"}
    source = in_folder(tmp_path, files)
    message = rf"^{name}_helper.py, line 2, in <module>: ModuleNotFoundError: No module .*nowhere_"
    with pytest.raises(UserCodeError, match=message):
        find_function(model(f"{name}:build"), source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(:\n", r"\.py, line 1: SyntaxError: "),
        ("raise SystemExit(3)\n", r"\.py, line 1, in <module>: SystemExit: 3"),
        ("def built(config): ...\n", "has no function build; did you mean built"),
        ("build = 3\n", r":build is of type int; expected a function"),
        ("from subprocess import run as build\n", "is defined in subprocess, another package"),
    ],
)
def test_what_is_no_function_is_refused(name: str, tmp_path: Path, text: str, message: str) -> None:
    source = in_folder(tmp_path, {f"{name}.py": text})
    with pytest.raises(UserCodeError, match=message):
        find_function(model(f"{name}:build"), source)


def test_a_missing_package_is_told_with_the_remedy(name: str, tmp_path: Path) -> None:
    spec = model(f"{name}.net:build")
    with pytest.raises(UserCodeError, match=f"no module {name} on the host .*: install the pack"):
        find_function(spec, None)
    with pytest.raises(UserCodeError, match=f"no module {name}, neither in {tmp_path} nor"):
        find_function(spec, CodeSource(search_path=tmp_path))
    code = uploaded({"other/__init__.py": BUILD, "third.py": BUILD, "other-1.dist-info/RECORD": ""})
    with pytest.raises(UserCodeError, match="in the uploaded code, which holds other, third"):
        find_function(spec, code)


def test_code_that_is_not_the_uploaded_one_is_refused() -> None:
    with pytest.raises(UserCodeError, match=r"random was imported from .*random.py, not from the"):
        find_function(model("random:build"), uploaded({"random.py": BUILD}))
    assert random.random() < 1


def test_a_folder_is_not_sent_to_other_hosts(tmp_path: Path) -> None:
    folder = CodeSource(path=tmp_path)
    assert folder.with_content() is folder


@pytest.mark.parametrize(
    "error", [LookupError("17"), BadModule("18"), MemoryError("19"), SystemExit(20)]
)
def test_errors_of_private_rows_have_no_message_of_the_code(error: BaseException) -> None:
    kind = UserCodeError if isinstance(error, LookupError | SystemExit) else type(error)
    with pytest.raises(kind) as raised, private_errors("tests"):
        raise error
    assert ("18" in str(raised.value)) == isinstance(error, BadModule)
    assert not any(number in str(raised.value) for number in ("17", "19", "20"))
