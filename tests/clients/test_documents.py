"""YAML 1.2's core schema, and invalid YAML and JSON."""

import math
import re
from typing import Any

import pytest

from batchgrad.parsing.documents import MOST_DEEP, SyntaxFault, parse_json, parse_yaml

CORE = [  # YAML 1.2.2, section 10.3.2; beside each what PyYAML makes of it, where that differs
    ("true", True),
    ("False", False),
    ("yes", "yes"),  # True
    ("on", "on"),  # True
    ("OFF", "OFF"),  # False
    ("~", None),
    ("", None),
    ("010", 10),  # 8
    ("0o17", 15),  # "0o17"
    ("0x1F", 31),
    ("0b11", "0b11"),  # 3
    ("1_000", "1_000"),  # 1000
    ("1:30", "1:30"),  # 90
    ("+12", 12),
    ("1e-3", 0.001),  # "1e-3"
    ("1E5", 100_000.0),  # "1E5"
    (".5", 0.5),
    ("-.inf", -math.inf),
    ("2026-02-31", "2026-02-31"),  # an error
    ("=", "="),  # an error
    ("'3'", "3"),
    ("!!float 3", 3.0),
]


@pytest.mark.parametrize(("text", "value"), CORE)
def test_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    parsed = parse_yaml(f"key: {text}")["key"]
    assert (parsed, type(parsed)) == (value, type(value))


def test_keys_are_text_or_whole_numbers() -> None:
    assert parse_yaml("{0: a, '0': b, x: {<<: 1}}") == {0: "a", "0": "b", "x": {"<<": 1}}


def laughs(levels: int) -> str:
    """YAML whose every line repeats the line before ten times ("billion laughs")."""
    first = f"a0: &a0 [{','.join('1' * 10)}]\n"
    return first + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, levels)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"has the key 'a' twice, at line 1 and again at line 3, column 1$"),
        ("a: {b: 1,\n b: 1}", r"'b' twice, at line 1 and again at line 2, column 2$"),
        ("1: a\n0x1: b", r"has the key 1 twice, at line 1 and again at line 2"),
        ("x:\n- true: 1", r"a key that is neither text nor an integer at line 2, column 3$"),
        ("? [1]\n: 2", r"a key that is neither text nor"),
        (
            "a: !!timestamp 2026-01-01",
            r"has the tag '!!timestamp', which is not part of the core schema at",
        ),
        ("!!python/object:os.system x", r"has the tag '!!python/object:os.system'"),
        ("a: !!set {b}", r"has the tag '!!set'"),
        (f"a: {'9' * 4301}", r"'9+, which is not an integer of up to 4300 digits at line 1, colu"),
        (f"a: 0x{'f' * 5000}", r"'0xf+, which is not an integer of up to 4300 digits at line 1"),
        (f"a: 0o{'7' * 5000}", r"'0o7+, which is not an integer of up to 4300 digits at line 1"),
        ("a: &x {b: *x}", r"has an alias inside of the node that it repeats at line 1, column 11$"),
        ("a: *unknown", r"is not valid YAML: found undefined alias 'unknown' at line 1"),
        ("a: 1\n---\nb: 2", r"is not valid YAML: .*another document at line 2"),
        ("[" * 49_000, rf"nested more than {MOST_DEEP} levels deep at line 1, column {{}}$"),
        ("- " * 49_000, rf"nested more than {MOST_DEEP} levels deep"),
        (laughs(9), r"has aliases that repeat more than 10000 values at line 4"),
        (f"a: &x {'z' * 5000}\nb: [{'*x, ' * 2000}]", r"repeat more than 10000 values at line 2"),
        ("a: \ud800", r"is not valid YAML: unacceptable character"),
    ],
)
def test_invalid_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SyntaxFault) as caught:
        parse_yaml(text)
    assert re.search(message.format(MOST_DEEP + 2), str(caught.value)), str(caught.value)


def test_an_alias_repeats_a_value_and_shares_none() -> None:
    parsed = parse_yaml("a: &x [1, 2]\nb: *x\nc: {d: *x}")
    assert parsed == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}
    assert parsed["a"] is not parsed["b"]
    assert len(parse_yaml(laughs(3))["a2"]) == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "has the key 'a' twice: remove one"),
        ('[{"b": {"c": 1, "d": 2, "c": 3}}]', "has the key 'c' twice"),
        ("[" * 100_000, "is nested too deep"),
        ("9" * 4301, "is not valid JSON: Exceeds the limit"),
        ('{"a": ]', "is not valid JSON: Expecting value at line 1, column 7"),
        (b'{"\xff": 1}', "is not valid JSON: 'utf-8' codec"),
    ],
)
def test_json_has_each_key_once_and_an_end(text: str | bytes, message: str) -> None:
    with pytest.raises(SyntaxFault, match=re.escape(message)):
        parse_json(text)
