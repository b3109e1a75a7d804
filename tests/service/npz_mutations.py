"""Damaged and forged npz archives, drawn from a seed."""

import io
import struct
import zipfile
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

_INPUTS = np.arange(12, dtype=np.float32).reshape(4, 3)
_TARGETS = np.array([0, 1, 2, 1])
_EXTREMES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_DESCRS = (
    "'<f4'", "()", "('f4',)", "((),)", "(('f4',),)", "[('a', '<f4')]", "[('\\ud800', '<f4')]",
    "'|O'", "'<U3'", "'<M8[s]'", "'<f16'", "'<f4,<i4'", "('<f4', (2, 2))", "('<f4', 10**9)", "{}",
    "None", "1", "'<f4' * 9", "'\\xff'", "[]", "[()]", "[('a',)]", "'<V0'", "'<f4'[0]", "b'<f4'",
)  # fmt: skip
_SHAPES = (
    "(4, 3)", "(3, 4)", "()", "(4,)", "(-4, -3)", "(0, 3)", "(4, 3.0)", "(True, 12)", "[4, 3]",
    "4", "(4, '3')", "(2**40, 2**40)", "(4, None)", f"({'1, ' * 65})", f"({'1, ' * 33})",
    f"(0x{'f' * 2000}, 3)", f"({'9' * 4400}, 3)", "(" * 300, f"({'0x' + 'f' * 16}, 1)", "(4, 3j)",
)  # fmt: skip
_NAMES = ("inputs.npy", "targets.npy", "weights.npy", "in\ud800puts.npy", "", "a/../b.npy", "\xff")


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged archives; the kinds of damage take turns."""
    random = Random(seed)
    whole = [_zipped(_members(), kind) for kind in (0, 8, 12, 14)]  # stored, deflate, bzip2, lzma
    whole.append(_zipped(_members(fortran=True), 8))
    whole.append(_zipped(_members(), 0, comment=b"PK\x05\x06" * 9))
    ways = (_bytes, _slices, _field, _header, _name, _directory)
    for index in range(count):
        yield ways[index % len(ways)](random, random.choice(whole))


def _bytes(random: Random, whole: bytes) -> bytes:
    """Change some bytes."""
    made = bytearray(whole)
    for _ in range(random.choice((1, 1, 1, 2, 5, 20))):
        made[random.randrange(len(made))] = random.choice((0, 255, random.randrange(256)))
    return bytes(made)


def _slices(random: Random, whole: bytes) -> bytes:
    """Remove, double or move a part."""
    a, b, c = sorted(random.randrange(len(whole) + 1) for _ in range(3))
    return random.choice(
        (whole[:a], whole[a:], whole[:a] + whole[b:], whole[:b] + whole[a:], whole[:a] + whole[b:c])
    )


def _field(random: Random, whole: bytes) -> bytes:
    """Change a number in a record of the archive: size, offset, flag, method or checksum."""
    made = bytearray(whole)
    signature = random.choice((b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"))
    places = [i for i in range(len(whole)) if whole.startswith(signature, i)]
    at = random.choice(places) + 4 + 2 * random.randrange(21)
    value = random.choice((*_EXTREMES, random.randrange(2**32), len(whole)))
    packed = struct.pack("<I", value)[: random.choice((1, 2, 4))]
    made[at : at + len(packed)] = packed
    return bytes(made)


def _header(random: Random, _: bytes) -> bytes:
    """Put an invalid .npy header into an intact archive."""
    descr, shape = random.choice(_DESCRS), random.choice(_SHAPES)
    order = random.choice(("False", "True", "1", "None", "'F'"))
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"
    if random.random() < 0.2:
        text = random.choice((text[: random.randrange(len(text))], text * 2, "\x00" + text, "{1}"))
    encoded = text.encode("latin-1", "replace") + b"\n"
    version = random.choice((1, 1, 1, 2, 3, 0, 9))
    width = "<H" if version == 1 else "<I"
    length = random.choice((len(encoded), len(encoded), 0, 2**16 - 1))
    magic = b"\x93NUMPY" + bytes((version, 0)) + struct.pack(width, length)
    members = _members()
    members[random.choice(("inputs.npy", "targets.npy"))] = magic + encoded + _INPUTS.tobytes()
    return _zipped(members, random.choice((0, 8)))


def _name(random: Random, whole: bytes) -> bytes:
    """Give a member another name, or one that is not text."""
    old = random.choice((b"inputs.npy", b"targets.npy"))
    new = random.choice(_NAMES).encode("utf-8", "surrogatepass")
    made = bytearray(whole.replace(old, new.ljust(len(old), b"\xff")[: len(old)]))
    for i in range(len(made) - 10):
        if bytes(made[i : i + 4]) in {b"PK\x01\x02", b"PK\x03\x04"} and random.random() < 0.7:
            made[i + (9 if made[i + 2] == 1 else 7)] |= 8  # "the name is UTF-8"
    return bytes(made)


def _directory(random: Random, whole: bytes) -> bytes:
    """Make members overlap, repeat, or claim other sizes with a correct checksum."""
    members = _members()
    content = members["inputs.npy"]
    kept = content[: random.randrange(len(content))]
    members["inputs.npy"] = kept
    made = _zipped(members, 0)
    if random.random() < 0.5:
        made = made.replace(struct.pack("<I", len(kept)), struct.pack("<I", len(content)), 4)
    return made + random.choice((b"", b"\x00", whole))


def _members(*, fortran: bool = False) -> dict[str, bytes]:
    inputs: Any = np.asfortranarray(_INPUTS.astype(">f4")) if fortran else _INPUTS
    return {"inputs.npy": _npy(inputs), "targets.npy": _npy(_TARGETS)}


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _zipped(members: dict[str, bytes], compression: int, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.comment = comment
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
