"""Wrong tokens, counted by address: whoever guesses has to wait."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

import structlog

from batchgrad_service.problems import TooManyAttemptsError

FROM_ONE = (10, 0.1)
FROM_ALL = (100, 1.0)
"""So many wrong tokens at once, and so many more a second: from one address, from all together."""

MOST_ADDRESSES = 1024

_log = structlog.stdlib.get_logger("batchgrad.http")


class _Bucket:
    """Holds what may be spent: at most `size`, refilled by `a_second`."""

    def __init__(self, size: int, a_second: float, now: float) -> None:
        self._size, self._a_second = size, a_second
        self.left, self._at = float(size), now

    def refill(self, now: float) -> None:
        self.left = min(self._size, self.left + (now - self._at) * self._a_second)
        self._at = now


@dataclass
class _Address:
    bucket: _Bucket
    trusted: bool = field(default=False)  # the right token came from there
    refused: bool = field(default=False)  # its last token was not even looked at


class Guesses:
    """Counts wrong tokens by address; the `MOST_ADDRESSES` newest are remembered.

    An address that has sent the right token is let in with it even while others guess from there:
    users of one machine share theirs, and none shall lock out another.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._all = _Bucket(*FROM_ALL, clock())

    def judge(self, client: str, *, right: bool) -> bool:
        """`right`, taken note of.

        Raises:
            TooManyAttemptsError: the client's address has to wait, whatever it has sent.
        """
        address = self._address(client)
        for bucket in (address.bucket, self._all):
            bucket.refill(self._clock())
        waits = min(address.bucket.left, self._all.left) < 1
        if right and (address.trusted or not waits):
            address.trusted = True
            return True
        if waits:
            if not address.refused:
                _log.warning("too many wrong tokens; more are not logged", client=client)
            address.refused = True
            raise TooManyAttemptsError(
                "Too many wrong tokens came from this address: wait, then send the right one.",
                headers={"Retry-After": "10"},
            )
        _log.warning("wrong token", client=client)
        address.refused = False
        for bucket in (address.bucket, self._all):
            bucket.left -= 1
        return False

    def _address(self, client: str) -> _Address:
        name = _counted_as(client)
        if name not in self._addresses:
            self._addresses[name] = _Address(_Bucket(*FROM_ONE, self._clock()))
        self._addresses.move_to_end(name)
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        return self._addresses[name]


def _counted_as(client: str) -> str:
    """Whoever has one IPv6 address has 2⁶⁴: they count as one."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return client
