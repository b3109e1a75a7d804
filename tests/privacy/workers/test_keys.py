"""Keys of a private job: each purpose and build has one of its own."""

import hashlib
import hmac
from typing import get_args

import pytest

from batchgrad_workers.privacy.chacha import words
from batchgrad_workers.privacy.keys import KEY_BYTES, Purpose, subkey

KEY = bytes(range(32))
BUILD = {"numpy": "2.4.6", "cpu": "znver4"}


def test_purposes_builds_and_jobs_have_keys_of_their_own() -> None:
    builds: list[dict[str, str]] = [
        {},
        BUILD,
        {"numpy": "2.4.7", "cpu": "znver4"},
        {"numpy": "2.4.6"},
        {"numpy": "znver4", "cpu": "2.4.6"},
        {"numpy": '2.4.6"], ["cpu", "znver4'},
        {"numpy2.4.6": "", "cpu": "znver4"},
    ]
    keys = [
        subkey(key, purpose, build)
        for key in (KEY, bytes(32))
        for purpose in get_args(Purpose)
        for build in builds
    ]

    assert len(set(keys)) == len(keys) == 2 * 5 * len(builds)
    assert {len(key) for key in keys} == {KEY_BYTES}
    assert not {KEY, bytes(32)} & set(keys)


def test_a_subkey_is_an_hmac_of_its_purpose_and_build() -> None:
    text = b'["noise", [["cpu", "znver4"], ["numpy", "2.4.6"]]]'

    assert subkey(KEY, "noise", BUILD) == hmac.new(KEY, text, hashlib.sha256).digest()


def test_the_order_in_which_a_build_is_told_changes_nothing() -> None:
    other = dict(reversed(BUILD.items()))

    assert list(other) != list(BUILD)
    assert subkey(KEY, "sample", other) == subkey(KEY, "sample", BUILD)


def test_purposes_share_no_word_of_a_step() -> None:
    found = [words(subkey(KEY, each, BUILD), 3, 0, 64).tolist() for each in get_args(Purpose)]

    assert len({word for each in found for word in each}) == 64 * len(found)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"has {size} bytes; .* 32"):
        subkey(bytes(size), "sample", BUILD)
