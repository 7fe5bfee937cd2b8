"""Seeded damage to bytes: what a fuzzer without coverage does, the same on every machine."""

from __future__ import annotations

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

INTEGERS = (0, 1, -1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 100_000, 2**31 - 1, -(2**31), 2**24, 16384)
WORDS = (
    b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\xf0\x9f\x8c\x92", b"NaN", b"-Infinity", b"1e400", b"-0", b"null", b"[[[[",
    b'{"a":', b"\\ud800", b"9" * 400, b"../../..", b"%999999999d", b"####", b"[1-2]", b"true", b"\n", b'"', b"\\",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**70), 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    float("-inf"), "", "a", "1", "-1", "nan", "..", "../../etc", "/", "\0", "\ud800", "\udcff", "\U0001f312", "a\nb",
    "x" * 5000, "9" * 5000, "1-2000000000", "%999999999999d", "[exec true]", '"}', "1/0", "1e999999999", [], {}, [[]],
    [None], {"a": 1}, [0] * 2000,
)  # fmt: skip
_NEST = "\ue000nested"
HEADER = 512  # bytes in which half of the damage is done


def damaged(data: bytes, seed: int, others: Sequence[bytes] = ()) -> bytes:
    """``data`` after one to eight changes; ``others``: bytes of its kind to take pieces from.

    Of JSON mostly the values are changed and the form kept, else it would hardly ever be read beyond its first error.
    """
    random_ = random.Random(seed)
    value = _decoded(data) if random_.random() < 0.8 else None
    if isinstance(value, dict | list):
        return _changed_json(value, random_)
    result = bytearray(data)
    for _ in range(random_.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        random_.choice(_CHANGES)(result, random_, others or (data,))
    return _with_checksums(bytes(result)) if random_.random() < 0.8 else bytes(result)


def _place(data: bytearray, random_: random.Random) -> int:
    return random_.randrange(min(len(data), HEADER) if random_.random() < 0.5 else len(data)) if data else 0


def _flip(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    if data:
        data[_place(data, random_)] ^= 1 << random_.randrange(8)


def _byte(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    if data:
        data[_place(data, random_)] = random_.choice((0, 1, 0x7F, 0x80, 0xFF, random_.randrange(256)))


def _integer(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    form = random_.choice("<> ")
    spelled = struct.pack(f"{form.strip() or '<'}i", random_.choice(INTEGERS))[: 4 if form != " " else 2]
    start = _place(data, random_)
    data[start : start + len(spelled)] = spelled


def _delete(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    start = _place(data, random_)
    del data[start : start + random_.choice((1, 1, 2, 4, 16, 256))]


def _cut(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    del data[_place(data, random_) :]


def _double(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    start = _place(data, random_)
    data[start:start] = data[start : start + random_.choice((1, 4, 16, 64))]


def _word(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    start = _place(data, random_)
    data[start:start] = random_.choice(WORDS)


def _splice(data: bytearray, random_: random.Random, others: Sequence[bytes]) -> None:
    other = random_.choice(others)
    start, length = random_.randrange(len(other) + 1), random_.choice((4, 16, 64, 1024))
    place = _place(data, random_)
    data[place : place + random_.choice((0, length))] = other[start : start + length]


_CHANGES: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    _flip, _flip, _byte, _byte, _integer, _integer, _delete, _cut, _double, _word, _splice,
)  # fmt: skip


def _with_checksums(data: bytes) -> bytes:
    """A PNG's chunks with checksums that fit, else all damage to it would be found out at once."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    result, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        if at + 12 + length > len(data):
            break
        result += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return bytes(result) + data[at:]


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _changed_json(value: Any, random_: random.Random) -> bytes:
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            break
        holder, key = random_.choice(places)
        _change_entry(holder, key, random_)
    # Python's own encoder could not nest as deep as a file can.
    depth = random_.choice((50, 900, 50_000))
    return json.dumps(value).replace(json.dumps(_NEST), "[" * depth + "]" * depth).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of nested lists and objects, as what holds it and its key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _change_entry(holder: Any, key: Any, random_: random.Random) -> None:
    new, how = copy.deepcopy(random_.choice(VALUES)), random_.random()
    if how < 0.1:
        del holder[key]
    elif how < 0.2 and isinstance(holder, dict):
        holder[random_.choice(("", "a", "-1", "\u0661", "9" * 5000, "__class__", str(key) + " "))] = holder.pop(key)
    elif how < 0.25:
        holder[key] = _NEST
    elif how < 0.3 and isinstance(holder, list):
        holder[:] = (holder * 3)[:10_000]
    else:
        holder[key] = new
