"""Settings of the service: each is a BATCHGRAD_… variable, some are also flags of `serve`."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url

from batchgrad_service import addresses
from batchgrad_workers.data.source import CACHE_BYTES

DATABASE = "batchgrad.sqlite3"
"""The SQLite file in the data directory."""

_MIB = 2**20


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
    unsafe_privacy_key: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        repr=False,
        description="64 hex digits, for tests only: the key of every private job, which then "
        "claims no epsilon",
    )
    torch_modules: str = Field(
        default="",
        description="packages whose functions build PyTorch tasks, separated by commas: mypackage "
        "allows mypackage and all below it, * every package that can be imported",
    )
    torch_path: Path | None = Field(
        default=None,
        description="a folder with modules for PyTorch jobs, on the machine of the service and of "
        "all workers",
    )
    allow_uploaded_code: bool = Field(
        default=False,
        description="run code that jobs bring along: whoever submits has a shell on the nodes",
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
    siblings_from_nodes: int = Field(
        default=16,
        ge=2,
        description="a job with workers on this many other nodes has them pass parameters on and "
        "join sums among themselves, where the parameters are larger than 200 kB",
    )
    object_store_memory_bytes: int = Field(
        default=256 * _MIB,
        ge=80 * _MIB,
        description="object store of the private Ray cluster, in /dev/shm",
    )
    preflight_timeout_seconds: float = Field(
        default=120.0, gt=0, description="how long the check of a PyTorch task may take"
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
        """Make paths absolute, relative to the directory that the service was started in."""
        if isinstance(values, dict):
            for name in ("data_dir", "token_file", "node_cache_dir", "torch_path"):
                if values.get(name) is not None:
                    values = {**values, name: Path(values[name]).expanduser().absolute()}
        return values

    @field_validator("ray_address")
    @classmethod
    def _check_ray_address(cls, value: str | None) -> str | None:
        return addresses.ray_head(value) if value else None

    @field_validator("blob_store")
    @classmethod
    def _check_blob_store(cls, value: str | None) -> str | None:
        return None if value is None else addresses.blob_store_url(value)

    @field_validator("advertised_url")
    @classmethod
    def _check_advertised_url(cls, value: str | None) -> str | None:
        return None if value is None else addresses.service_url(value)

    @field_validator("allowed_hosts")
    @classmethod
    def _check_allowed_hosts(cls, value: str) -> str:
        return addresses.host_names(value)

    @field_validator("torch_modules")
    @classmethod
    def _check_torch_modules(cls, value: str) -> str:
        return addresses.module_names(value)

    @field_validator("torch_path")
    @classmethod
    def _check_torch_path(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is no folder: name the one that holds the modules.")
        return value

    @model_validator(mode="after")
    def _no_token_on_loopback_only(self) -> Self:
        if self.no_token and self.token_file is not None:
            raise ValueError("no_token and token_file contradict each other: set only one of them.")
        if self.no_token and not addresses.is_loopback(self.host):
            raise ValueError(
                f"host is {self.host!r}, which other machines can reach, and no_token gives all of "
                "them access: remove no_token (--no-token, BATCHGRAD_NO_TOKEN), or listen on "
                "127.0.0.1."
            )
        return self

    @property
    def folders(self) -> list[Path]:
        """Folders that the service writes to: data directory, and folder of the SQLite file.

        The disk of a database server is not checked.
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
        """The names in `allowed_hosts`, in lower case."""
        names = (name.strip().strip("[]").lower() for name in self.allowed_hosts.split(","))
        return frozenset(name for name in names if name)

    @property
    def torch_prefixes(self) -> tuple[str, ...]:
        """The names in `torch_modules`."""
        names = (name.strip() for name in self.torch_modules.split(","))
        return tuple(name for name in names if name)

    @property
    def token_path(self) -> Path | None:
        """The token file; None with `no_token`."""
        return None if self.no_token else self.token_file or self.data_dir / "token"
