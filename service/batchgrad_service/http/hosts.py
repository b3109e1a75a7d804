"""Check that Host names this service and Origin names no other site.

A page of another site can make its own name resolve to this machine (DNS rebinding); its requests
then have that name in Host. Or it makes a browser send a request to this service (CSRF).
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from batchgrad_service.addresses import is_loopback
from batchgrad_service.problems import ForbiddenError, UnknownHostError
from batchgrad_service.settings import Settings

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/\s]+)(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class AllowedHosts:
    """Loopback, the listening address, the advertised URL's host, and `allowed_hosts`.

    If the service listens on an address that others can reach, every host is allowed unless
    `allowed_hosts` names some: the browser has no cookie for another site's name, and the service
    answers nothing without cookie or token. Addresses are always allowed there: a page cannot make
    an address resolve to another one.
    """

    def __init__(self, settings: Settings) -> None:
        advertised = urlsplit(settings.advertised_url or "").hostname
        self._names = {"localhost", "127.0.0.1", "::1", settings.host.lower(), *settings.hosts}
        self._names |= {advertised} if advertised else set()
        self._reachable = not is_loopback(settings.host)
        self._any = "*" in settings.hosts or (self._reachable and not settings.hosts)

    def check(self, host: str) -> None:
        """Raise UnknownHostError unless the Host header `host` names this service."""
        found = _HOST.fullmatch(host)
        name = "" if found is None else found[1].strip("[]").lower().removesuffix(".")
        if self._any or self.is_own_name(name) or (self._reachable and _is_address(name)):
            return
        raise UnknownHostError(
            f"The Host header is {host[:100]!r}, which is not a name of this service: use "
            "127.0.0.1 or localhost, or start the service with `--allowed-hosts NAME`."
        )

    def is_own_name(self, name: str) -> bool:
        """Whether a host name or address, in lower case, is one of this service's."""
        if name in self._names or is_loopback(name):
            return True
        return any(own.startswith("*.") and name.endswith(own[1:]) for own in self._names)


def refuse_cross_site(method: str, headers: Mapping[str, str], hosts: AllowedHosts) -> None:
    """Refuse a request from another site's page, with a token or without.

    Browsers name the site of the page in Sec-Fetch-Site or, without TLS and for another machine,
    in Origin. A request without both headers does not come from a browser. A proxy may have
    changed Host: then the page's origin must be a name of this service.

    Raises:
        ForbiddenError: the request could change something and comes from another site.
    """
    if method in _SAFE_METHODS:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    page = _parts(origin or "")
    same = origin is None or page.netloc == headers.get("host")
    if same and site in {"same-origin", "none", None}:
        return
    if site == "same-origin" and hosts.is_own_name(page.hostname or ""):
        return
    raise ForbiddenError(
        f"This {method} request comes from another site ({(origin or site or '')[:100]}). Only "
        "the service's own page and programs other than browsers may change something.",
        code="other_site",
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _parts(origin: str) -> SplitResult:
    """The parts of an Origin, all empty if it is not a URL."""
    try:
        return urlsplit(origin)
    except ValueError:  # brackets without an IPv6 address
        return urlsplit("")
