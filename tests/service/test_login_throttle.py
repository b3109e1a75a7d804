"""Wrong tokens are limited by address and in total."""

import pytest

from batchgrad_service.http.login_throttle import (
    IN_TOTAL,
    MAX_ADDRESSES,
    PER_ADDRESS,
    LoginThrottle,
)
from batchgrad_service.problems import TooManyAttemptsError


class Time:
    """A clock that the test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def attempts(throttle: LoginThrottle, client: str, times: int) -> int:
    """Send `times` wrong tokens; return how many the service compared with the right one."""
    compared = 0
    for _ in range(times):
        try:
            assert not throttle.check(client, right=False)
        except TooManyAttemptsError:
            continue
        compared += 1
    return compared


def test_ten_wrong_tokens_then_one_every_ten_seconds() -> None:
    clock = Time()
    throttle = LoginThrottle(clock)
    assert attempts(throttle, "10.0.0.1", 1000) == PER_ADDRESS[0]
    with pytest.raises(TooManyAttemptsError):
        throttle.check("10.0.0.1", right=True)
    assert attempts(throttle, "10.0.0.2", 1) == 1
    assert throttle.check("10.0.0.3", right=True)
    clock.now = 60.0
    assert attempts(throttle, "10.0.0.1", 1000) == 6
    clock.now = 70.0
    assert throttle.check("10.0.0.1", right=True)


def test_a_trusted_address_is_not_locked_out() -> None:
    throttle = LoginThrottle(Time())
    assert throttle.check("127.0.0.1", right=True)
    assert attempts(throttle, "127.0.0.1", 1000) == PER_ADDRESS[0]
    assert throttle.check("127.0.0.1", right=True)


def test_all_addresses_share_a_limit_and_memory_is_bounded() -> None:
    throttle = LoginThrottle(Time())
    assert throttle.check("10.0.0.1", right=True)
    assert (
        sum(attempts(throttle, f"10.1.{n // 250}.{n % 250}", 1) for n in range(900)) == IN_TOTAL[0]
    )
    assert throttle.check("10.0.0.1", right=True)
    for n in range(2 * MAX_ADDRESSES):
        attempts(throttle, f"10.2.{n // 250}.{n % 250}", 1)
    assert len(throttle._addresses) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
    ],
)
def test_ipv6_addresses_count_by_network(first: str, second: str, together: bool) -> None:
    throttle = LoginThrottle(Time())
    assert attempts(throttle, first, 20) == PER_ADDRESS[0]
    assert attempts(throttle, second, 1) == (0 if together else 1)
