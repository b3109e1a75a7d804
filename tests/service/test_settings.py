"""Settings from flags and environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from batchgrad.variables import SETTINGS
from batchgrad_service.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATCHGRAD_RAY_ADDRESS", "RAY_ADDRESS", "BATCHGRAD_PORT", "BATCHGRAD_HOST"):
        monkeypatch.delenv(name, raising=False)


def test_flags_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHGRAD_PORT", "9000")
    monkeypatch.setenv("RAY_ADDRESS", "ray-head:6379")
    assert (Settings().port, Settings().ray_address) == (9000, "ray-head:6379")
    assert Settings(port=0).port == 0
    monkeypatch.setenv("BATCHGRAD_RAY_ADDRESS", "mine:6379")
    assert Settings().ray_address == "mine:6379"
    assert Settings(ray_address="flag:1").ray_address == "flag:1"


@pytest.mark.parametrize("name", ["RAY_ADDRESS", "BATCHGRAD_RAY_ADDRESS"])
def test_the_address_of_a_ray_head_is_checked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for right in ("head:6379", "127.0.0.1:1", "[::1]:6379", "auto"):
        monkeypatch.setenv(name, right)
        assert Settings().ray_address == right
    monkeypatch.setenv(name, "")
    assert Settings().ray_address is None
    assert Settings(ray_address="").ray_address is None
    for wrong in (
        "nonsense",
        "127.0.0.1",
        "http://127.0.0.1:8265",
        "ray://127.0.0.1:10001",
        "head:0",
        "head:99999",
        "local",
        "::1:6379",
        "a b:1",
    ):
        monkeypatch.setenv(name, wrong)
        with pytest.raises(
            ValidationError, match="is not the address of a Ray head: use HOST:PORT"
        ):
            Settings()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    for name in ("BATCHGRAD_RAY_ADDRESS", "BATCHGRAD_PORT", "BATCHGRAD_LOG_LEVEL"):
        monkeypatch.setenv(name, "")
    settings = Settings()
    assert (settings.ray_address, settings.port, settings.log_level) == ("head:6379", 8711, "info")


def test_the_client_knows_every_setting() -> None:
    assert list(SETTINGS) == [f"BATCHGRAD_{name.upper()}" for name in Settings.model_fields]


def test_the_default_database_is_in_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.url_of_database == f"sqlite:///{tmp_path}/batchgrad.sqlite3"
    url = "postgresql://somewhere/batchgrad"
    assert Settings(data_dir=tmp_path, database_url=url).url_of_database == url


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_service_on_loopback_may_have_no_token(host: str, tmp_path: Path) -> None:
    settings = Settings(host=host, data_dir=tmp_path)
    assert settings.token_path == tmp_path / "token"
    assert Settings(host=host, no_token=True).token_path is None
    with pytest.raises(ValidationError, match="contradict"):
        Settings(host=host, no_token=True, token_file=tmp_path / "mine")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])  # noqa: S104
def test_any_other_host_needs_a_token(host: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="--no-token"):
        Settings(host=host, no_token=True)
    assert Settings(host=host, data_dir=tmp_path).token_path == tmp_path / "token"


def test_what_pytorch_jobs_may_run_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BATCHGRAD_TORCH_MODULES", " mine , other.models,")
    monkeypatch.chdir(tmp_path)
    settings = Settings(torch_path=Path())
    assert settings.torch_prefixes == ("mine", "other.models")
    assert settings.torch_path == tmp_path
    assert not settings.allow_uploaded_code
    for wrong in ("my-package", "mine:build", "mine.*", "../mine", "a b"):
        with pytest.raises(ValidationError, match="is not the name of a package: use names such"):
            Settings(torch_modules=wrong)
    with pytest.raises(ValidationError, match="nowhere is no folder: name the one that holds"):
        Settings(torch_path=tmp_path / "nowhere")


def _row(name: str, field: FieldInfo) -> str:
    """The row of a setting in docs/reference/settings.md."""
    value = field.default
    if name == "data_dir":
        default = "`~/.local/share/batchgrad`"
    elif name.endswith("_bytes"):
        default = f"`{value}` ({value // 2**20} MiB)"
    elif name.endswith("_seconds"):
        default = f"`{value:g}`"
    else:
        default = "none" if value in {None, ""} else f"`{value}`"
    return f"| `{name}` | {default} | {field.description} |"


def test_docs_name_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text(
        encoding="utf-8"
    )
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [_row(*setting) for setting in Settings.model_fields.items()]
