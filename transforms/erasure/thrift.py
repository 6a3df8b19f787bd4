"""Thrift's compact protocol, read and written without knowing what the fields mean.

What a reader does not know it would lose, so structures are kept as they are: fields by their
numbers, in order, each with its type. Parquet's footers and page indexes are written in it.

The protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

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
    tape = _Tape(data, start)
    try:
        return tape.struct(0), tape.place
    except (IndexError, KeyError) as error:
        raise NotThrift("a structure in the file ends early, or is damaged") from error


def encode(struct: Struct) -> bytes:
    """The structure's bytes."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


class _Tape:
    """Reads on from ``place``; ``IndexError`` where there is no more."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self.place = place

    def struct(self, depth: int) -> Struct:
        if depth > _DEEPEST:
            raise NotThrift("a structure in the file is nested without end: it is damaged")
        fields: Struct = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self._number()
            fields[number] = Value(kind, self._field(kind, depth))
        return fields

    def _field(self, kind: int, depth: int) -> Any:
        """A field's value; a boolean one is in its type already."""
        return kind == TRUE if kind in {TRUE, FALSE} else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        if kind in {I16, I32, I64}:
            return self._number()
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in {LIST, SET}:
            return self._values(depth + 1)
        if kind == MAP:
            return self._map(depth + 1)
        if kind == DOUBLE:
            return self._take(8)
        if kind in {TRUE, FALSE, BYTE}:
            return self._byte()
        raise NotThrift("a structure in the file holds a type that is none: it is damaged")

    def _values(self, depth: int) -> Values:
        head = self._byte()
        kind, size = head & 0x0F, head >> 4
        if size == _LONG_LIST:
            size = self._varint()
        self._check_room(size)
        return Values(kind, [self._value(kind, depth) for _ in range(size)])

    def _map(self, depth: int) -> tuple[int, list[tuple[Any, Any]]]:
        size = self._varint()
        self._check_room(size)
        if not size:
            return 0, []
        kinds = self._byte()
        key, value = kinds >> 4, kinds & 0x0F
        return kinds, [(self._value(key, depth), self._value(value, depth)) for _ in range(size)]

    def _check_room(self, size: int) -> None:
        if size > len(self._data) - self.place:
            raise NotThrift("a structure in the file claims more than there is: it is damaged")

    def _byte(self) -> int:
        byte = self._data[self.place]
        self.place += 1
        return byte

    def _take(self, size: int) -> bytes:
        self._check_room(size)
        self.place += size
        return self._data[self.place - size : self.place]

    def _varint(self) -> int:
        whole = shift = 0
        while True:
            byte = self._byte()
            whole |= (byte & 0x7F) << shift
            if byte < 0x80:
                return whole
            shift += 7

    def _number(self) -> int:
        whole = self._varint()
        return (whole >> 1) ^ -(whole & 1)


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
        if kind not in {TRUE, FALSE}:
            _write_value(out, kind, held)
    out.append(_STOP)


def _write_value(out: bytearray, kind: int, held: Any) -> None:
    if kind in {I16, I32, I64}:
        _write_number(out, held)
    elif kind == BINARY:
        _write_varint(out, len(held))
        out += held
    elif kind == STRUCT:
        _write_struct(out, held)
    elif kind in {LIST, SET}:
        _write_values(out, held)
    elif kind == MAP:
        _write_map(out, held)
    elif kind == DOUBLE:
        out += held
    else:
        out.append(held)


def _write_values(out: bytearray, values: Values) -> None:
    size = len(values.items)
    if size < _LONG_LIST:
        out.append(size << 4 | values.type)
    else:
        out.append(_LONG_LIST << 4 | values.type)
        _write_varint(out, size)
    for item in values.items:
        _write_value(out, values.type, item)


def _write_map(out: bytearray, held: tuple[int, list[tuple[Any, Any]]]) -> None:
    kinds, pairs = held
    _write_varint(out, len(pairs))
    if pairs:
        out.append(kinds)
    for key, value in pairs:
        _write_value(out, kinds >> 4, key)
        _write_value(out, kinds & 0x0F, value)


def _write_number(out: bytearray, number: int) -> None:
    _write_varint(out, (number << 1) ^ (number >> 63))


def _write_varint(out: bytearray, rest: int) -> None:
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
