"""Keys of a private job's random numbers, derived from its secret key by HMAC."""

import hmac
import json
from collections.abc import Mapping
from typing import Literal

Purpose = Literal["sample", "noise", "loss", "quantile", "validation"]

KEY_BYTES = 32
"""In a job's key, and in a key of ChaCha20."""


def subkey(key: bytes, purpose: Purpose, build: Mapping[str, str]) -> bytes:
    """The key (32 bytes) for one purpose, by HMAC-SHA256.

    Another build rounds sums otherwise, and the same noise on two roundings would expose their
    difference: so each build has noise of its own.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"The job's key has {len(key)} bytes; it must have {KEY_BYTES}.")
    text = json.dumps([purpose, sorted(build.items())])
    return hmac.digest(key, text.encode(), "sha256")
