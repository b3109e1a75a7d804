"""Settings of the service: each is a BATCHGRAD_… variable, some are also flags of `serve`."""

import ipaddress
import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import fsspec
from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url

from batchgrad_workers.data.source import CACHE_BYTES

DATABASE = "batchgrad.sqlite3"
"""The SQLite file in the data directory."""

_MIB = 2**20


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _has_a_host(url: str) -> bool:
    """Whether host and port of a URL can be read."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that hold no IPv6 address, or a port that is no number
        return False


class Settings(BaseSettings):
    """The service's settings."""

    model_config = SettingsConfigDict(
        env_prefix="BATCHGRAD_",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        populate_by_name=True,
    )

    host: str = Field(
        default="127.0.0.1",
        description="address to listen on; any but a loopback address requires a token",
    )
    port: int = Field(
        default=8711, ge=0, le=65535, description="port to listen on; 0 takes any free one"
    )
    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".local/share/batchgrad",
        description="directory of jobs, datasets, checkpoints and the database",
    )
    database_url: str = Field(
        default="", description="SQLAlchemy URL; without it, a SQLite file in data_dir"
    )
    ray_address: str | None = Field(
        default=None,
        validation_alias=AliasChoices("BATCHGRAD_RAY_ADDRESS", "RAY_ADDRESS"),
        description="head of a Ray cluster, HOST:PORT, or auto for a cluster on this machine; "
        "without it, the service starts a private local cluster",
    )
    token_file: Path | None = Field(
        default=None,
        description="file with the bearer token; without it, `token` in data_dir, which is created",
    )
    no_token: bool = Field(
        default=False, description="serve every process of this machine without a token"
    )
    allowed_hosts: str = Field(
        default="",
        description="names of this service that a request's Host may have, separated by commas",
    )
    advertised_url: str | None = Field(
        default=None,
        description="URL of this service for workers on other nodes; default where it listens",
    )
    blob_store: str | None = Field(
        default=None,
        description="fsspec URL such as s3://bucket/prefix, from which nodes fetch datasets",
    )
    node_cache_dir: Path | None = Field(
        default=None,
        description="where a node keeps fetched datasets; default its temporary directory",
    )
    node_cache_bytes: int = Field(
        default=CACHE_BYTES, ge=1, description="size of a node's cache of fetched datasets"
    )
    max_request_bytes: int = Field(
        default=64 * _MIB, ge=1024, description="largest JSON body of a request"
    )
    max_dataset_bytes: int = Field(
        default=4096 * _MIB,
        ge=1024,
        description="largest upload, and largest total size of its arrays",
    )
    max_connections: int = Field(
        default=2000,
        ge=8,
        description="connections that are served at the same time; others get 503",
    )
    min_free_disk_bytes: int = Field(
        default=64 * _MIB,
        ge=0,
        description="with less free disk space than this, jobs wait until there is more",
    )
    max_running_jobs: int = Field(
        default=4, ge=1, le=256, description="jobs that run at the same time; others stay queued"
    )
    engine_stop_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="time for an engine to obey a command, or to be suspended, before it is killed",
    )
    worker_heartbeat_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        description="a Ray worker that answers no ping for this long is replaced",
    )
    worker_start_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description="how long the start of a job waits for a Ray head, and for its workers",
    )
    object_store_memory_bytes: int = Field(
        default=256 * _MIB,
        ge=80 * _MIB,
        description="object store of the private Ray cluster, in /dev/shm",
    )
    replay_timeout_seconds: float = Field(
        default=60.0, gt=0, description="how long the replay of a step may take"
    )
    max_request_memory_bytes: int = Field(
        default=384 * _MIB,
        ge=16 * _MIB,
        description="memory to compute the answer to a request, plus 24 bytes for each byte of it",
    )
    max_request_cpu_seconds: float = Field(
        default=1.5,
        gt=0,
        description="CPU time to compute the answer to a request, for each 256 KiB of it",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="console, or json: one object a line"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )

    @model_validator(mode="before")
    @classmethod
    def _absolute(cls, values: Any) -> Any:
        """Paths are those of the directory that the service was started in."""
        if isinstance(values, dict):
            for name in ("data_dir", "token_file", "node_cache_dir"):
                if values.get(name) is not None:
                    values = {**values, name: Path(values[name]).expanduser().absolute()}
        return values

    @field_validator("ray_address")
    @classmethod
    def _head_of_a_cluster(cls, value: str | None) -> str | None:
        if not value or value == "auto":
            return value or None
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", value)
        if found is None or not 0 < int(found[2]) < 2**16:
            raise ValueError(
                f"{value!r:.100} is no address of a Ray head: give HOST:PORT (6379 unless `ray "
                "start` was told another; neither the dashboard's http:// nor ray://), or auto for "
                "a cluster on this machine, or leave it out for a private one."
            )
        return value

    @field_validator("blob_store")
    @classmethod
    def _store_can_be_opened(cls, value: str | None) -> str | None:
        return None if value is None else check_store_url(value)

    @field_validator("advertised_url")
    @classmethod
    def _address_of_a_service(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value:  # it would stand in logs and jobs' events, and nodes would not use it
            raise ValueError("It carries a user's name or password: give http://HOST:PORT alone.")
        if not (re.fullmatch(r"https?://[^/?#\s]+[^?#\s]*", value) and _has_a_host(value)):
            raise ValueError(f"{value!r} is no address of a service: give http://HOST:PORT.")
        return value.rstrip("/")

    @field_validator("allowed_hosts")
    @classmethod
    def _names_alone(cls, value: str) -> str:
        for name in value.split(","):
            if not re.fullmatch(r"\s*(\*|(\*\.)?[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?|)\s*", name):
                raise ValueError(
                    f"{name!r} is no host: give names or addresses without scheme and port, "
                    "separated by commas; *.example.org means all below it, * every host."
                )
        return value

    @model_validator(mode="after")
    def _without_a_token_only_here(self) -> Self:
        if self.no_token and self.token_file is not None:
            raise ValueError("no_token and token_file contradict each other: give one of them.")
        if self.no_token and not is_loopback(self.host):
            raise ValueError(
                f"host is {self.host!r}, which others can reach, and no_token lets all of them in: "
                "leave no_token (--no-token, BATCHGRAD_NO_TOKEN) out, or listen on 127.0.0.1."
            )
        return self

    @property
    def folders(self) -> list[Path]:
        """Where the service writes: the data directory, and the folder of a SQLite file elsewhere.

        A database on a server looks after its own disk.
        """
        url = make_url(self.url_of_database)
        if url.get_backend_name() != "sqlite" or not url.database:
            return [self.data_dir]
        return list(dict.fromkeys([self.data_dir, Path(url.database).absolute().parent]))

    @property
    def url_of_database(self) -> str:
        """`database_url`, or the SQLite file in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir / DATABASE}"

    @property
    def hosts(self) -> frozenset[str]:
        """`allowed_hosts`, one by one, in lower case."""
        names = (name.strip().strip("[]").lower() for name in self.allowed_hosts.split(","))
        return frozenset(name for name in names if name)

    @property
    def token_path(self) -> Path | None:
        """The token's file; None without a token."""
        return None if self.no_token else self.token_file or self.data_dir / "token"


def check_store_url(url: str) -> str:
    """`url` without a slash at its end.

    Raises:
        ValueError: it carries a password, or has no protocol, one that can't be written to, or one
            whose library is missing.
    """
    if urlsplit(url).password is not None:  # it would stand in logs, problems and jobs' events
        raise ValueError(
            "The URL carries a password: leave it out, and give service and nodes the credentials "
            "where the store's library looks for them (environment, files of its own, fsspec's "
            "~/.config/fsspec)."
        )
    protocol, there, _ = url.partition("://")
    if not there or protocol in {"http", "https"}:
        raise ValueError(
            f"{url!r} is no store to write to: give an fsspec URL such as s3://bucket/prefix or "
            "file:///shared/folder."
        )
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:  # "Install s3fs to access S3", or an unknown name
        raise ValueError(f"{url!r} can't be opened: {error} (on every node too).") from error
    return url.rstrip("/")
