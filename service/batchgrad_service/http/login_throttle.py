"""Limit how many wrong tokens an address may send."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

import structlog

from batchgrad_service.problems import TooManyAttemptsError

PER_ADDRESS = (10, 0.1)
IN_TOTAL = (100, 1.0)
"""Wrong tokens that are allowed at once, and how many more are allowed each second."""

MAX_ADDRESSES = 1024

_log = structlog.stdlib.get_logger("batchgrad.http")


class _TokenBucket:
    """At most `size` attempts, refilled by `per_second`."""

    def __init__(self, size: int, per_second: float, now: float) -> None:
        self._size, self._per_second = size, per_second
        self.left, self._at = float(size), now

    def refill(self, now: float) -> None:
        self.left = min(self._size, self.left + (now - self._at) * self._per_second)
        self._at = now


@dataclass
class _Address:
    bucket: _TokenBucket
    trusted: bool = field(default=False)  # the right token came from this address
    refused: bool = field(default=False)  # its last token was not compared


class LoginThrottle:
    """Counts wrong tokens by address; remembers the `MAX_ADDRESSES` newest addresses.

    An address that has sent the right token is not locked out while others guess from it: the
    users of one machine share an address.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._total = _TokenBucket(*IN_TOTAL, clock())

    def check(self, client: str, *, right: bool) -> bool:
        """Count an attempt from the address `client`; return `right`.

        Raises:
            TooManyAttemptsError: too many wrong tokens came from the address.
        """
        address = self._address(client)
        for bucket in (address.bucket, self._total):
            bucket.refill(self._clock())
        exhausted = min(address.bucket.left, self._total.left) < 1
        if right and (address.trusted or not exhausted):
            address.trusted = True
            return True
        if exhausted:
            if not address.refused:
                _log.warning("too many wrong tokens; further ones are not logged", client=client)
            address.refused = True
            raise TooManyAttemptsError(
                "Too many wrong tokens came from this address: wait 10 seconds, then send the "
                "right token.",
                headers={"Retry-After": "10"},
            )
        _log.warning("wrong token", client=client)
        address.refused = False
        for bucket in (address.bucket, self._total):
            bucket.left -= 1
        return False

    def _address(self, client: str) -> _Address:
        name = _network_of(client)
        if name not in self._addresses:
            self._addresses[name] = _Address(_TokenBucket(*PER_ADDRESS, self._clock()))
        self._addresses.move_to_end(name)
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        return self._addresses[name]


@lru_cache(MAX_ADDRESSES)
def _network_of(client: str) -> str:
    """The /64 network of an IPv6 address, since its owner has all of it; else the address."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return client
