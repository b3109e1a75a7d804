"""Check the service's URL and token, and find the proxy between.

Messages contain neither tokens nor passwords.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.request import proxy_bypass

import httpx2

from batchgrad.errors import BatchgradError, InvalidArgument

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True)
class Address:
    """A service's URL; user and password are in `login`, not in `url`."""

    url: str
    login: tuple[str, str] | None
    host: str
    scheme: str

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, which a proxy cannot reach."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def checked_url(url: object) -> Address:
    """The URL of a service: http://HOST:PORT, with a path if the service has one.

    Raises:
        InvalidArgument: `url` is not the URL of a service.
    """
    if not isinstance(url, str):
        raise InvalidArgument(f"The service's URL is {type(url).__name__}; expected text.")
    subject = f"The service's URL is {without_login(url)!r}"
    try:
        parsed = httpx2.URL(url.strip())
        parsed.host.encode("idna")
    except httpx2.InvalidURL as error:
        if "@" in url:  # the reason may hold a part of the password
            raise InvalidArgument(f"{subject}; expected http://HOST:PORT.") from None
        raise InvalidArgument(f"{subject}: {error}.") from error
    except UnicodeError as error:
        raise InvalidArgument(f"{subject}, which is not a valid host name.") from error
    beyond = parsed.query or parsed.fragment or "@" in parsed.path  # a password with / in it
    wrong = parsed.scheme not in {"http", "https"} or beyond
    if wrong or not parsed.host or not 0 < (parsed.port or 80) < 2**16:
        raise InvalidArgument(f"{subject}; expected http://HOST:PORT.")
    login = (parsed.username, parsed.password) if parsed.userinfo else None
    plain = str(parsed.copy_with(username="", password="")) if login else str(parsed)
    return Address(plain.rstrip("/"), login, parsed.host, parsed.scheme)


def checked_token(token: object) -> str | None:
    """The token without white space around it; None for an empty one.

    Raises:
        InvalidArgument: `token` is not text, or a header cannot carry it.
    """
    if token is None:
        return None
    if not isinstance(token, str):
        raise InvalidArgument(f"The token is {type(token).__name__}; expected text.")
    stripped = token.strip()
    if not re.fullmatch(r"[!-~]*", stripped):
        raise InvalidArgument(
            "The token (BATCHGRAD_TOKEN) holds spaces, line breaks or letters that are not ASCII: "
            "copy it from the service's token file. This message does not show it."
        )
    return stripped or None


def without_login(url: str) -> str:
    """A URL for messages, without user and password."""
    return re.sub(r"(?s)^([^/]*//)?.*@", r"\1…@", url)


@dataclass(frozen=True)
class Proxy:
    """A proxy that an environment variable names."""

    variable: str
    url: str

    def __str__(self) -> str:
        return f"{without_login(self.url)} ({self.variable})"


def proxy_between(address: Address) -> Proxy | None:
    """The proxy that requests to a service go through."""
    if address.loopback or proxy_bypass(address.host):
        return None
    found = {proxy.variable.lower().removesuffix("_proxy"): proxy for proxy in _proxies()}
    return found.get(address.scheme) or found.get("all")


def _proxies() -> Iterator[Proxy]:
    """Each proxy that the environment names; lower-case names come last and win."""
    for scheme in ("http", "https", "all"):
        for variable in (f"{scheme}_proxy".upper(), f"{scheme}_proxy"):
            if url := os.environ.get(variable):
                yield Proxy(variable, url if "://" in url else f"http://{url}")


def environment_fault(error: Exception) -> BatchgradError:
    """The error that names the environment variable because of which httpx2 raised `error`."""
    for proxy in _proxies():
        scheme = proxy.url.partition("://")[0].lower()
        if scheme not in _PROXY_SCHEMES:
            return BatchgradError(
                f"{proxy.variable} is {without_login(proxy.url)!r}; expected http://HOST:PORT: "
                f"correct it, or unset {proxy.variable}."
            )
        if isinstance(error, ImportError) and scheme.startswith("socks"):
            return BatchgradError(
                f"{proxy.variable} is a SOCKS proxy, {without_login(proxy.url)}, which needs a "
                f"package that is not installed: pip install socksio, or unset {proxy.variable}."
            )
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if isinstance(error, OSError) and variable in os.environ:
            return BatchgradError(
                f"{variable} is {os.environ[variable]!r}; certificates cannot be read from it "
                f"({error}): name a PEM file, or unset it."
            )
    return BatchgradError(f"HTTP does not work in this environment ({error}).")
