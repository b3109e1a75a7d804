import pytest

from batchgrad_service.http.token_guesses import FROM_ALL, FROM_ONE, MOST_ADDRESSES, Guesses
from batchgrad_service.problems import TooManyAttemptsError


class Time:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def guess(guesses: Guesses, client: str, times: int) -> int:
    """How many of so many wrong tokens are looked at."""
    looked_at = 0
    for _ in range(times):
        try:
            assert not guesses.judge(client, right=False)
        except TooManyAttemptsError:
            continue
        looked_at += 1
    return looked_at


def test_ten_guesses_then_one_in_ten_seconds() -> None:
    clock = Time()
    guesses = Guesses(clock)
    assert guess(guesses, "10.0.0.1", 1000) == FROM_ONE[0]
    with pytest.raises(TooManyAttemptsError):
        guesses.judge("10.0.0.1", right=True)
    assert guess(guesses, "10.0.0.2", 1) == 1
    assert guesses.judge("10.0.0.3", right=True)
    clock.now = 60.0
    assert guess(guesses, "10.0.0.1", 1000) == 6
    clock.now = 70.0
    assert guesses.judge("10.0.0.1", right=True)


def test_who_shares_an_address_with_a_guesser_is_not_locked_out() -> None:
    guesses = Guesses(Time())
    assert guesses.judge("127.0.0.1", right=True)
    assert guess(guesses, "127.0.0.1", 1000) == FROM_ONE[0]
    assert guesses.judge("127.0.0.1", right=True)


def test_many_addresses_are_one_guesser_and_little_memory() -> None:
    guesses = Guesses(Time())
    assert guesses.judge("10.0.0.1", right=True)
    assert sum(guess(guesses, f"10.1.{n // 250}.{n % 250}", 1) for n in range(900)) == FROM_ALL[0]
    assert guesses.judge("10.0.0.1", right=True)
    for n in range(2 * MOST_ADDRESSES):
        guess(guesses, f"10.2.{n // 250}.{n % 250}", 1)
    assert len(guesses._addresses) == MOST_ADDRESSES


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
    ],
)
def test_ipv6_addresses_count_by_network(first: str, second: str, together: bool) -> None:
    guesses = Guesses(Time())
    assert guess(guesses, first, 20) == FROM_ONE[0]
    assert guess(guesses, second, 1) == (0 if together else 1)
