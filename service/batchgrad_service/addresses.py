"""Check the hosts, URLs and names of packages in settings."""

import ipaddress
import re
from urllib.parse import urlsplit

import fsspec


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def ray_head(address: str) -> str:
    """The address of a Ray cluster's head, HOST:PORT or "auto".

    Raises:
        ValueError: another form, or a port that does not exist.
    """
    if address == "auto":
        return address
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", address)
    if found is None or not 0 < int(found[2]) < 2**16:
        raise ValueError(
            f"{address!r:.100} is not the address of a Ray head: use HOST:PORT (the port is 6379 "
            "unless `ray start` got another one; neither the dashboard's http:// nor ray://), auto "
            "for a cluster on this machine, or no address for a private cluster."
        )
    return address


def service_url(url: str) -> str:
    """The URL of a service, without a slash at its end.

    Raises:
        ValueError: a user name or password in the URL, a query, or no host.
    """
    if "@" in url:  # logs and jobs' events would show it, and nodes would not use it
        raise ValueError("The URL has a user name or password: use http://HOST:PORT.")
    if not (re.fullmatch(r"https?://[^/?#\s]+[^?#\s]*", url) and _has_host(url)):
        raise ValueError(f"{url!r} is not the URL of a service: use http://HOST:PORT.")
    return url.rstrip("/")


def host_names(names: str) -> str:
    """Host names and addresses, separated by commas.

    Raises:
        ValueError: one of them is neither.
    """
    for name in names.split(","):
        if not re.fullmatch(r"\s*(\*|(\*\.)?[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?|)\s*", name):
            raise ValueError(
                f"{name!r} is not a host: use names or addresses without scheme and port, "
                "separated by commas; *.example.org means all names below it, * means every host."
            )
    return names


def module_names(names: str) -> str:
    """Names of Python packages, separated by commas, or *.

    Raises:
        ValueError: one of them is neither.
    """
    for name in names.split(","):
        if not re.fullmatch(r"\s*(\*|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*|)\s*", name):
            raise ValueError(
                f"{name!r} is not the name of a package: use names such as mypackage or "
                "mypackage.models, separated by commas, or * for every package."
            )
    return names


def blob_store_url(url: str) -> str:
    """The URL of a blob store, without a slash at its end.

    Raises:
        ValueError: a password in the URL, a protocol that cannot be written to, or one whose
            library is not installed.
    """
    if urlsplit(url).password is not None:  # logs, errors and jobs' events would show it
        raise ValueError(
            "The URL has a password: remove it, and give service and nodes the credentials where "
            "the store's library expects them (environment, its own files, ~/.config/fsspec)."
        )
    protocol, separator, _ = url.partition("://")
    if not separator or protocol in {"http", "https"}:
        raise ValueError(
            f"{url!r} is not a store that can be written to: use an fsspec URL such as "
            "s3://bucket/prefix or file:///shared/folder."
        )
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:  # "Install s3fs to access S3", or an unknown name
        raise ValueError(f"{url!r} cannot be opened: {error} (also on every node).") from error
    return url.rstrip("/")


def _has_host(url: str) -> bool:
    """Whether the URL has a host, and a valid port if any."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an IPv6 address, or a port that is not a number
        return False
