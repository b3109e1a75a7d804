"""Hosts that mean this service, in a request's Host and in the Origin of the page that sent it.

A page of another site can have its own name lead to this machine (DNS rebinding); its requests
then come with that name in Host, and are refused.
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from batchgrad_service.problems import UnknownHostError
from batchgrad_service.settings import Settings, is_loopback

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/\s]+)(:\d{1,5})?", re.ASCII | re.IGNORECASE)


class Hosts:
    """Loopback, where the service listens, its advertised URL's, and `allowed_hosts`.

    Where others reach it, any host will do unless some are named: behind a name of another site
    the browser has no cookie of this service, and without cookie or token nothing is open. Among
    named ones addresses pass there: no name leads to an address that it does not have.
    """

    def __init__(self, settings: Settings) -> None:
        advertised = urlsplit(settings.advertised_url or "").hostname
        self._named = {settings.host.lower(), *settings.hosts}
        self._named |= {advertised} if advertised else set()
        self._reachable = not is_loopback(settings.host)
        self._any = "*" in settings.hosts or (self._reachable and not settings.hosts)

    def check(self, host: str) -> None:
        """Raises UnknownHostError unless the Host header means this service."""
        found = _HOST.fullmatch(host)
        name = "" if found is None else found[1].strip("[]").lower().removesuffix(".")
        if self._any or self.names(name) or (self._reachable and _is_address(name)):
            return
        raise UnknownHostError(
            f"This service is not meant by the host {host[:100]!r}: ask for 127.0.0.1 or "
            "localhost, or start it with `--allowed-hosts NAME`."
        )

    def names(self, name: str) -> bool:
        """Whether a host's name or address, in lower case, is known to be this service's."""
        if is_loopback(name) or name in self._named:
            return True
        return any(one.startswith("*.") and name.endswith(one[1:]) for one in self._named)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
