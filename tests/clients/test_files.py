"""Files that a download may overwrite."""

import io
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

np = pytest.importorskip("numpy", reason="numpy makes the files")


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"0.bias": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


PARAMETERS = {"0.weight": np.ones((2, 3)), "10.bias": np.ones(2), "standardize.mean": np.ones(3)}
DATASET = npz(inputs=np.ones((2, 3)), targets=np.ones(2))


def download(kit: Any, run: Any, to: Path) -> tuple[Any, Any]:
    script = kit.Script(kit.answer(200, kit.job()), httpx2.Response(200, content=b"newer"))
    return script, run(script, "download", "job_1", "--to", str(to))


@pytest.mark.parametrize("content", [b"", safetensors(), npz(**PARAMETERS)])
def test_a_download_takes_the_place_of_an_older_one(
    kit: Any, run: Any, tmp_path: Path, content: bytes
) -> None:
    target = tmp_path / "theta"
    target.write_bytes(content)
    _, done = download(kit, run, target)
    assert (done.exit_code, target.read_bytes()) == (0, b"newer")


@pytest.mark.parametrize(
    "content", [DATASET, npz(X=np.ones(2)), b"a,b\n1,2\n", b"x", b"{" * 20, DATASET[:50]]
)
def test_a_download_overwrites_nothing_else(
    kit: Any, run: Any, tmp_path: Path, content: bytes
) -> None:
    target = tmp_path / "mine.npz"
    target.write_bytes(content)
    script, done = download(kit, run, target)
    assert done.exit_code == 1
    assert (
        f"{target} exists and is not a file of parameters: nothing was overwritten" in done.stderr
    )
    assert target.read_bytes() == content
    assert not any(request.url.path.endswith("/parameters") for request in script.seen)


def test_a_download_needs_a_folder_and_a_name_in_it(kit: Any, run: Any, tmp_path: Path) -> None:
    _, nowhere = download(kit, run, tmp_path / "none" / "theta.npz")
    assert (
        nowhere.stderr
        == f"batchgrad: The folder {tmp_path / 'none'} does not exist: create it first.\n"
    )
    _, folder = download(kit, run, tmp_path)
    assert f"{tmp_path} is a folder" in folder.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.pt", "m.PTH", "m.pb", "m.bin", "m.h5"])
def test_a_download_refuses_the_suffix_of_another_format(
    kit: Any, run: Any, tmp_path: Path, name: str
) -> None:
    script, done = download(kit, run, tmp_path / name)
    assert done.exit_code == 2
    assert "name it m.safetensors, which safetensors.torch.load_file reads, or m.npz" in done.stderr
    assert list(tmp_path.iterdir()) == []
    script = kit.Script(kit.answer(200, kit.job()), httpx2.Response(200, content=b"newer"))
    to = ["--to", str(tmp_path / name), "--format", "npz"]
    assert run(script, "download", "job_1", *to).stderr == "Written as npz.\n"
