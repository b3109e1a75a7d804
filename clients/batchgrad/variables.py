"""The names of all environment variables BATCHGRAD_…; refuse others, which are misspelled."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from batchgrad.errors import InvalidArgument

_PREFIX = "BATCHGRAD_"
CLIENT = ("BATCHGRAD_URL", "BATCHGRAD_TOKEN")
SETTINGS = tuple(
    f"BATCHGRAD_{name.upper()}"
    for name in (
        "host",
        "port",
        "data_dir",
        "database_url",
        "ray_address",
        "token_file",
        "no_token",
        "allowed_hosts",
        "advertised_url",
        "blob_store",
        "unsafe_privacy_key",
        "torch_modules",
        "torch_path",
        "allow_uploaded_code",
        "node_cache_dir",
        "node_cache_bytes",
        "max_request_bytes",
        "max_dataset_bytes",
        "max_connections",
        "min_free_disk_bytes",
        "max_running_jobs",
        "engine_stop_timeout_seconds",
        "worker_heartbeat_timeout_seconds",
        "worker_start_timeout_seconds",
        "siblings_from_nodes",
        "object_store_memory_bytes",
        "preflight_timeout_seconds",
        "replay_timeout_seconds",
        "max_request_memory_bytes",
        "max_request_cpu_seconds",
        "log_format",
        "log_level",
    )
)
"""The service's settings; the client cannot import them."""

IN_CONTAINERS = ("BATCHGRAD_HEAD", "BATCHGRAD_HEAD_CPUS", "BATCHGRAD_IMAGE")  # deploy/, compose
_OF_KUBERNETES = re.compile(
    r"BATCHGRAD_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
    r"|BATCHGRAD_\w+_PORT"
)
"""Variables that Kubernetes sets in each container for services named batchgrad…"""

_RENAMED = {
    "BATCHGRAD_GRACE_SECONDS": "ENGINE_STOP_TIMEOUT_SECONDS",
    "BATCHGRAD_WORKER_SILENCE_SECONDS": "WORKER_HEARTBEAT_TIMEOUT_SECONDS",
}
"""Former names whose successor is not the most similar name, and that successor."""


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raise InvalidArgument if a variable begins with BATCHGRAD_ and has no known name."""
    known = (*CLIENT, *SETTINGS, *IN_CONTAINERS)
    for name, value in environment.items():
        if not name.startswith(_PREFIX) or name in known or not value:
            continue
        if _OF_KUBERNETES.fullmatch(name):
            continue
        ends = [one.removeprefix(_PREFIX) for one in known]
        new = _RENAMED.get(name)
        close = [new] if new else get_close_matches(name.removeprefix(_PREFIX)[:80], ends, 1)
        remedy = (
            f"did you mean {_PREFIX}{close[0]}?"
            if close
            else "unset it; docs/reference/settings.md lists all variables."
        )
        raise InvalidArgument(f"Unknown variable {name:.80}: {remedy}")
