"""Parse a line of JSON, strictly."""

import json
import re
from collections import Counter
from typing import Any

import orjson

from batchgrad_service.problems import InvalidError

KINDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
REMEDY = 'expected an object in each line, as {"age": 31, "city": "Rome"}'
_KEY = re.compile(rb'"\s*:')
_LARGE = b"0" * 19
_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def parsed(number: int, line: bytes, *, is_checked: bool) -> dict[str, Any]:
    """Return the object in a line. `is_checked`: it was read before.

    Raises:
        InvalidError: there is no object, a key is there twice, or an integer has over 64 bits.
    """
    try:
        found = _loads(line)
    except (ValueError, TypeError, RecursionError) as error:
        shown = line[:60].decode(errors="replace").strip()
        raise InvalidError.field(
            "/file",
            f"Line {number} is no JSON ({error!s:.100}): {shown!r}; {REMEDY}, "
            "which jq -c . in.json > out.jsonl writes.",
        ) from error
    if not isinstance(found, dict):
        raise InvalidError.field("/file", f"Line {number} is {KINDS[type(found)]}; {REMEDY}.")
    if not is_checked and (_keys(line) > len(found) or _LARGE in line.translate(_ZEROS)):
        _refuse_what_was_lost(number, line)
    return found


def _keys(line: bytes) -> int:
    """Return the number of keys in a line, at least; a text that looks like a key counts, too."""
    if b" :" in line or b"\t:" in line or b"\r:" in line:
        return len(_KEY.findall(line))
    return line.count(b'":')


def _refuse_what_was_lost(number: int, line: bytes) -> None:
    """Refuse repeated keys and integers of more than 64 bits; loads keeps one, and rounds."""
    pairs = json.loads(line, object_pairs_hook=list)
    for key, value in pairs:
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise InvalidError.field(
                "/file",
                f"Line {number} has the integer {value!s:.40} as {key!r:.100}, more than 64 bits: "
                "write it in quotes if it is a name, with a decimal point if it is a number.",
            )
    key, times = Counter(key for key, _ in pairs).most_common(1)[0]
    if times > 1:
        raise InvalidError.field(
            "/file",
            f"Line {number} has the key {key!r:.100} {times} times: expected each key once.",
        )


def _loads(line: bytes) -> Any:
    """Parse a line of JSON, in which NaN and Infinity are numbers, as Python writes them."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        if b"NaN" not in line and b"Infinity" not in line:
            raise
    found = json.loads(line)
    orjson.dumps(found)  # refuses halves of surrogate pairs, as loads does
    return found
