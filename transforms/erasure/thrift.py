"""Thrift's compact protocol, read and written without knowing what the fields mean.

What a reader does not know it would lose, so structures are kept as they are: fields by their
numbers, in order, each with its type. Parquet's footers and page indexes are written in it.

The protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.errors import InputError

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)

_STOP = 0
_LONG_LIST = 15
_DEEPEST = 64


class NotThrift(InputError):
    """Bytes are no structure of this protocol, or a damaged one."""

    code = "bad_thrift"


class Value(NamedTuple):
    """A field's type and what it holds: a number, bytes, a ``Struct``, a ``Values``, a map."""

    type: int
    held: Any


Struct = dict[int, Value]
"""Fields by number, in the order in which they stand."""


class Values(NamedTuple):
    """A list's items and their type."""

    type: int
    items: list[Any]


def decode(data: bytes, start: int = 0) -> tuple[Struct, int]:
    """The structure at ``start``, and where it ends. Raises ``NotThrift``."""
    try:
        return _struct(data, start, 0)
    except (IndexError, KeyError) as error:
        raise NotThrift("a structure in the file ends early, or is damaged") from error


def encode(struct: Struct) -> bytes:
    """The structure's bytes."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


# --- Reading: a value at a place, and where it ends; an ``IndexError`` where there is no more -----


def _struct(data: bytes, place: int, depth: int) -> tuple[Struct, int]:
    if depth > _DEEPEST:
        raise NotThrift("a structure in the file is nested without end: it is damaged")
    fields: Struct = {}
    number = 0
    while head := data[place]:
        place += 1
        kind, step = head & 0x0F, head >> 4
        if step:
            number += step
        else:
            number, place = _number(data, place, depth)
        if kind in _BOOLEANS:
            fields[number] = Value(kind, kind == TRUE)
        else:
            held, place = _READERS[kind](data, place, depth + 1)
            fields[number] = Value(kind, held)
    return fields, place + 1


def _values(data: bytes, place: int, depth: int) -> tuple[Values, int]:
    head = data[place]
    place += 1
    kind, size = head & 0x0F, head >> 4
    if size == _LONG_LIST:
        size, place = _varint(data, place)
    _check_room(data, place, size)
    read, items = _READERS[kind], []
    for _ in range(size):
        item, place = read(data, place, depth)
        items.append(item)
    return Values(kind, items), place


def _map(data: bytes, place: int, depth: int) -> tuple[tuple[int, list[tuple[Any, Any]]], int]:
    size, place = _varint(data, place)
    _check_room(data, place, size)
    if not size:
        return (0, []), place
    kinds = data[place]
    place += 1
    pairs = []
    for _ in range(size):
        key, place = _READERS[kinds >> 4](data, place, depth)
        value, place = _READERS[kinds & 0x0F](data, place, depth)
        pairs.append((key, value))
    return (kinds, pairs), place


def _bytes(data: bytes, place: int, _: int) -> tuple[bytes, int]:
    size, place = _varint(data, place)
    return _taken(data, place, size)


def _double(data: bytes, place: int, _: int) -> tuple[bytes, int]:
    return _taken(data, place, 8)


def _byte(data: bytes, place: int, _: int) -> tuple[int, int]:
    return data[place], place + 1


def _number(data: bytes, place: int, _: int) -> tuple[int, int]:
    whole = data[place]
    if whole < 0x80:  # as nearly all are
        return (whole >> 1) ^ -(whole & 1), place + 1
    whole, place = _varint(data, place)
    return (whole >> 1) ^ -(whole & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    whole = shift = 0
    while True:
        byte = data[place]
        place += 1
        whole |= (byte & 0x7F) << shift
        if byte < 0x80:
            return whole, place
        shift += 7


def _taken(data: bytes, place: int, size: int) -> tuple[bytes, int]:
    _check_room(data, place, size)
    return data[place : place + size], place + size


def _check_room(data: bytes, place: int, size: int) -> None:
    if size > len(data) - place:
        raise NotThrift("a structure in the file claims more than there is: it is damaged")


_BOOLEANS = frozenset({TRUE, FALSE})
"""As fields, where the type says which; in lists they are bytes."""

_READERS: dict[int, Callable[[bytes, int, int], tuple[Any, int]]] = {
    **dict.fromkeys((TRUE, FALSE, BYTE), _byte),
    **dict.fromkeys((I16, I32, I64), _number),
    DOUBLE: _double,
    BINARY: _bytes,
    **dict.fromkeys((LIST, SET), _values),
    MAP: _map,
    STRUCT: _struct,
}


# --- Writing ----------------------------------------------------------------------------------


def _write_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for number, (kind, held) in struct.items():
        step = number - before
        before = number
        if 0 < step < 16:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            _write_number(out, number)
        if kind not in _BOOLEANS:
            _WRITERS[kind](out, held)
    out.append(_STOP)


def _write_values(out: bytearray, values: Values) -> None:
    size = len(values.items)
    if size < _LONG_LIST:
        out.append(size << 4 | values.type)
    else:
        out.append(_LONG_LIST << 4 | values.type)
        _write_varint(out, size)
    write = _WRITERS[values.type]
    for item in values.items:
        write(out, item)


def _write_map(out: bytearray, held: tuple[int, list[tuple[Any, Any]]]) -> None:
    kinds, pairs = held
    _write_varint(out, len(pairs))
    if pairs:
        out.append(kinds)
    for key, value in pairs:
        _WRITERS[kinds >> 4](out, key)
        _WRITERS[kinds & 0x0F](out, value)


def _write_bytes(out: bytearray, held: bytes) -> None:
    _write_varint(out, len(held))
    out += held


def _write_number(out: bytearray, number: int) -> None:
    _write_varint(out, (number << 1) ^ (number >> 63))


def _write_varint(out: bytearray, rest: int) -> None:
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)


_WRITERS: dict[int, Callable[[bytearray, Any], None]] = {
    **dict.fromkeys((TRUE, FALSE, BYTE), bytearray.append),
    **dict.fromkeys((I16, I32, I64), _write_number),
    DOUBLE: bytearray.extend,
    BINARY: _write_bytes,
    **dict.fromkeys((LIST, SET), _write_values),
    MAP: _write_map,
    STRUCT: _write_struct,
}
