"""Code that jobs bring along: what may run, what is refused, and how long it is kept."""

import stat
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from batchgrad.contract import UploadRequest
from batchgrad_service.data_directory import leftovers
from batchgrad_service.datasets import uploaded_code
from batchgrad_service.datasets.uploaded_code import UploadedCode, check_archive
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.jobs.failures import failure_of_error
from batchgrad_service.problems import InvalidError
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store
from batchgrad_service.validation.torch.rules import TorchRules
from tests.service.building import body, create, problem, push, spec
from tests.service.conftest import Bench
from tests.service.test_uploads import digest_of
from tests.service.uploads import zipped

WHEEL = zipped({"mine/__init__.py": b"def build(config): ...", "mine-1.dist-info/RECORD": b""})
DIGEST = digest_of(WHEEL)
MODEL = {"torch": "mine:build"}


@pytest.fixture
def uploads(tmp_path: Path) -> UploadedFiles:
    return UploadedFiles(tmp_path, DiskSpace([tmp_path], 0), max_bytes=2**20)


@pytest.fixture
def code(tmp_path: Path, store: Store, uploads: UploadedFiles) -> UploadedCode:
    return UploadedCode(tmp_path, store, uploads)


def upload(uploads: UploadedFiles, content: bytes) -> str:
    digest = digest_of(content)
    uploads.begin(UploadRequest(digest=digest, bytes=len(content)))
    uploads.append(digest, 0, content)
    uploads.settle(digest)
    return digest


def job_with_code(store: Store, **changes: Any) -> str:
    changes = {"model": {**MODEL, "code": DIGEST}, "loss": None, **changes}
    return create(store, **changes).id


def test_code_is_kept_while_a_job_needs_it(
    code: UploadedCode, uploads: UploadedFiles, store: Store
) -> None:
    upload(uploads, WHEEL)
    with code.using(DIGEST) as path:
        assert path.read_bytes() == WHEEL
    assert not path.exists()  # as after a plan
    with code.using(DIGEST):
        job = job_with_code(store)
    uploads.remove(DIGEST)
    assert store.job_inputs(job).code == DIGEST
    with code.using(DIGEST):
        other = job_with_code(store)
    for each in (job, other):
        assert path.read_bytes() == WHEEL
        store.transition(each, to="cancelled")
        store.delete_job(each)
        code.drop_unused(DIGEST)
    assert not path.exists()


def test_code_in_use_is_not_removed_with_its_last_job(
    code: UploadedCode, uploads: UploadedFiles, store: Store
) -> None:
    upload(uploads, WHEEL)
    with code.using(DIGEST) as path:
        code.drop_unused(DIGEST)
        with code.using(DIGEST):
            pass
        assert path.exists()
        job_with_code(store)
    assert path.exists()


def test_code_that_no_job_needs_is_a_leftover(
    tmp_path: Path, code: UploadedCode, uploads: UploadedFiles, store: Store
) -> None:
    upload(uploads, WHEEL)
    with code.using(DIGEST) as path:
        found = [one for one in leftovers.find(tmp_path, store) if one.path == path]
        assert [one.why for one in found] == [leftovers.NO_TASK]
        job_with_code(store)
    assert path not in [one.path for one in leftovers.find(tmp_path, store)]


def test_code_has_to_be_uploaded_first(code: UploadedCode, uploads: UploadedFiles) -> None:
    with pytest.raises(InvalidError, match="There is no upload") as caught, code.using(DIGEST):
        pass
    assert caught.value.errors[0].pointer == "/model/code"
    uploads.begin(UploadRequest(digest=DIGEST, bytes=len(WHEEL)))
    with pytest.raises(InvalidError, match=f"0 of {len(WHEEL)} bytes"), code.using(DIGEST):
        pass


def test_harmful_code_is_not_taken(code: UploadedCode, uploads: UploadedFiles) -> None:
    digest = upload(uploads, zipped({"../b.py": b"1"}))
    with pytest.raises(InvalidError, match="no path inside"), code.using(digest):
        pass
    assert not code.path(digest).exists()


def archive(name: str = "a.py", **changes: Any) -> bytes:
    """A zip file with one member, whose attributes are changed."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        member = zipfile.ZipInfo("a.py")
        member.external_attr = changes.get("external_attr", 0)
        member.compress_type = changes.get("compress_type", zipfile.ZIP_STORED)
        file.writestr(member, "a = 1\n")
    return content.getvalue().replace(b"a.py", name.encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "is no readable zip file"),
        (zipped({"a.txt": b"1"}), "holds no Python module"),
        (archive("/.py"), "'/.py', which is no path inside"),
        (archive("a\\py"), "which is no path inside"),
        (zipped({"../b.py": b"1"}), "which is no path inside"),
        (archive(external_attr=(stat.S_IFLNK | 0o777) << 16), "which is a link"),
        (archive(compress_type=zipfile.ZIP_LZMA), "which is compressed by lzma"),
        (
            zipped({"a.py": b"1", "b.py": b"2"}).replace(b"b.py", b"a.py"),
            "'a.py', which is there twice",
        ),
    ],
)
def test_archives_that_could_do_harm_are_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "code"
    file.write_bytes(content)
    with pytest.raises(InvalidError) as caught:
        check_archive(file)
    assert message in caught.value.detail
    assert caught.value.code == "bad_code"


def test_large_archives_are_refused(
    tmp_path: Path,
    code: UploadedCode,
    uploads: UploadedFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "large"
    file.write_bytes(zipped({"a.py": b"0" * 2000, "b.py": b"0" * 2000}, zipfile.ZIP_DEFLATED))
    check_archive(file)
    monkeypatch.setattr(uploaded_code, "MAX_UNPACKED_BYTES", 3999)
    with pytest.raises(InvalidError, match="unpacks to 4000 bytes, at most 3999"):
        check_archive(file)
    monkeypatch.setattr(uploaded_code, "MAX_FILES", 1)
    with pytest.raises(InvalidError, match="holds 2 files, at most 1"):
        check_archive(file)
    monkeypatch.setattr(uploaded_code, "MAX_BYTES", len(WHEEL) - 1)
    upload(uploads, WHEEL)
    with pytest.raises(InvalidError, match=f"has {len(WHEEL)} bytes, at most"), code.using(DIGEST):
        pass


@pytest.mark.parametrize(
    ("allowed", "function", "runs"),
    [
        ("mine", "mine:build", True),
        ("mine", "mine.sub.nets:build", True),
        ("mine", "mines:build", False),
        ("mine.sub", "mine:build", False),
        ("other, mine.sub", "mine.sub:build", True),
        ("*", "os:system", True),
        ("", "mine:build", False),
    ],
)
def test_packages_are_allowed_by_the_operator(
    allowed: str, function: str, *, runs: bool, tmp_path: Path
) -> None:
    rules = TorchRules.of(Settings(torch_modules=allowed, data_dir=tmp_path))
    wanted = spec(model={"torch": function}, loss=None)
    if runs:
        rules.check(wanted)
        return
    with pytest.raises(InvalidError, match=r"--torch-modules mines? \(") as caught:
        rules.check(wanted)
    assert caught.value.errors[0].pointer == "/model/torch"
    assert f"allowed are: {allowed or 'none'}." in caught.value.detail


def test_uploaded_code_needs_no_name_in_the_settings(tmp_path: Path) -> None:
    wanted = spec(model={**MODEL, "code": DIGEST}, loss=None)
    TorchRules.of(Settings(allow_uploaded_code=True, data_dir=tmp_path)).check(wanted)
    with pytest.raises(InvalidError, match="--allow-uploaded-code"):
        TorchRules.of(Settings(torch_modules="*", data_dir=tmp_path)).check(wanted)


def test_a_stored_job_runs_its_code_only_while_the_settings_allow_it(tmp_path: Path) -> None:
    wanted = spec(model={**MODEL, "code": DIGEST}, loss=None)
    rules = TorchRules(uploads=True, search_path=tmp_path / "more")
    found = rules.code_of(wanted, tmp_path)
    assert found is not None
    file = tmp_path / "code" / f"{DIGEST.removeprefix('sha256:')}.zip"
    assert (found.path, found.digest) == (file, DIGEST)
    assert found.search_path == tmp_path / "more"
    with pytest.raises(InvalidError, match="--allow-uploaded-code") as caught:
        TorchRules(("mine",)).code_of(wanted, tmp_path)
    assert failure_of_error(caught.value).reason == "code_not_allowed"
    named = TorchRules(("mine",)).code_of(spec(model=MODEL, loss=None), tmp_path)
    assert (named and named.path) is None
    assert TorchRules().code_of(spec(), tmp_path) is None


@pytest.mark.parametrize("path", ["/v1/plans", "/v1/jobs"])
def test_a_service_runs_no_code_unless_it_is_told_to(bench: Bench, path: str) -> None:
    push(bench.http)
    wanted = body(model=MODEL, loss=None)
    assert problem(bench.http.post(path, json=wanted), 422)["code"] == "module_not_allowed"
    wanted = body(model={**MODEL, "code": DIGEST}, loss=None)
    assert problem(bench.http.post(path, json=wanted), 422)["code"] == "code_not_allowed"


def test_code_is_looked_for_among_the_uploads(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(allow_uploaded_code=True)
    push(bench.http)
    wanted = body(model={**MODEL, "code": DIGEST}, loss=None)
    found = problem(bench.http.post("/v1/plans", json=wanted), 422)
    assert found["code"] == "upload_not_found"
    assert found["errors"][0]["pointer"] == "/model/code"
