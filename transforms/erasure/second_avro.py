"""Columns of Avro rows for a second look, taken out by a regular expression.

A reader that makes an object of each value of a row takes several times as long as a second look
has, which wants two or three of them. What a row's bytes may be is a regular language, as long as
what they tell of lengths and counts has a bound; so a schema becomes a pattern whose groups are the
columns, and ``re`` passes over a row in about a microsecond::

    (?:\\x00|\\x02.{1}|\\x04.{2}|...)       # a string: its length, and so many bytes
    (?:\\x00|\\x02[\\x80-\\xff]{0,9}[\\x00-\\x7f])    # a nullable long

Of bits of a length or count that is larger there is a group each, and ``(?(7).{64})`` passes over
what that bit stands for. At each place one way alone can be gone, so a row is never read in another
way than it was written. Rows of which no pattern is made, such as those with lists of dozens of
items, are left to a reader.

The encoding: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import islice
from typing import Any

import fastavro
from fastavro.schema import UnknownType

_PORTION = 2048
"""Rows in memory at a time, beside their block."""

_FEW = 64
"""What one byte tells apart: lengths, branches of a union, symbols."""

_LENGTH_BITS = 7
"""Of a length in two bytes, those of the second one."""

_COUNT_BITS = 5
_LONGEST = 256 * 1024
"""Bytes of a pattern. A longer one takes too long to compile for what it saves."""

_NUMBER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_SCALARS = {
    "null": b"",
    "boolean": rb"[\x00\x01]",
    "int": _NUMBER,
    "long": _NUMBER,
    "float": b".{4}",
    "double": b".{8}",
}

Schema = Any
Value = Callable[[bytes], Any]


class OtherRows(Exception):
    """Rows are not of the language that a pattern knows."""


@dataclass(frozen=True)
class Column:
    """A column of some rows, named in small letters.

    Values of plain columns are texts, or None of a null; those of others are what a reader makes of
    them.
    """

    name: str
    encoded: list[bytes]
    value: Value

    @property
    def is_plain(self) -> bool:
        return not isinstance(self.value, _Read)

    def __getitem__(self, row: int) -> Any:
        return self.value(self.encoded[row])

    def __iter__(self) -> Iterator[Any]:
        return map(self.value, self.encoded)


@dataclass(frozen=True)
class AvroColumns:
    """Takes columns out of the blocks of files of one schema; ``values`` reads each of them."""

    schema: Schema
    values: Mapping[str, Value]

    def portions(self, data: bytes, rows: int) -> Iterator[list[Column]]:
        """The columns of an unpacked block of so many rows, some rows at a time.

        Raises ``OtherRows``, before or behind any of them, if a reader has to be asked instead.
        """
        count = 0
        for columns in self._encoded(data):
            count += len(columns[0])
            named = zip(self.values.items(), columns, strict=True)
            yield [Column(name.lower(), encoded, value) for (name, value), encoded in named]
        if count != rows:
            raise OtherRows

    def _encoded(self, data: bytes) -> Iterator[list[list[bytes]]]:
        """What the short pattern knows of the rows; from the first other one on, the long one."""
        place = 0
        for is_long in (False, True):
            pattern = self._short if not is_long else self._long
            groups = [pattern.groupindex[name] for name in _columns(self.values)]
            matches = pattern.finditer(data, place)
            while found := list(islice(matches, _PORTION)):
                place = found[-1].end()
                if found[-1][groups[0]] is None:  # what it passed over is no row
                    place = found.pop().start()
                yield [[match[group] for match in found] for group in groups]
            if place == len(data):
                return
        raise OtherRows

    @cached_property
    def _short(self) -> re.Pattern[bytes]:
        return _Language(self.values, is_long=False).rows(self.schema)

    @cached_property
    def _long(self) -> re.Pattern[bytes]:
        return _Language(self.values, is_long=True).rows(self.schema)


@lru_cache(64)
def avro_columns(schema: str, names: frozenset[str]) -> AvroColumns | None:
    """What takes the columns of these names, in small letters, out of rows of a schema in JSON.

    None if there is no pattern of it.
    """
    parsed = fastavro.parse_schema(json.loads(schema))
    if not isinstance(parsed, dict) or parsed["type"] != "record":
        return None
    try:
        return AvroColumns(parsed, dict(_values(parsed["fields"], names)))
    except OtherRows:
        return None


# --- Values -----------------------------------------------------------------------------------


def _values(fields: Iterable[Mapping[str, Any]], names: frozenset[str]) -> Iterator[Any]:
    for field in fields:
        if field["name"].lower() in names:
            yield field["name"], _value(field["type"])


def _value(kind: Schema) -> Value:
    """What reads a value of this type."""
    match kind:
        case list():
            branches = [_value(branch) for branch in kind]
            is_plain = not any(isinstance(branch, _Read) for branch in branches)
            return partial(_of_union, branches) if is_plain else _Read.of(kind)
        case {"type": "enum", "symbols": symbols}:
            return partial(_symbol, symbols)
        case {"type": "string" | "int" | "long" as plain, **more} if "logicalType" not in more:
            return _value(plain)
    return _PLAIN[kind] if isinstance(kind, str) and kind in _PLAIN else _Read.of(kind)


@dataclass(frozen=True)
class _Read:
    """Values that a reader reads, one at a time."""

    schema: Schema

    @staticmethod
    def of(kind: Schema) -> _Read:
        """Raises ``OtherRows`` for what is defined elsewhere in its schema."""
        fields = [{"name": "value", "type": kind}]
        try:
            return _Read(fastavro.parse_schema({**_ALONE, "fields": fields}))
        except UnknownType:
            raise OtherRows from None

    def __call__(self, encoded: bytes) -> Any:
        record: Any = fastavro.schemaless_reader(io.BytesIO(encoded), self.schema, None)
        return record["value"]


def _of_union(branches: list[Value], encoded: bytes) -> Any:
    return branches[encoded[0] >> 1](encoded[1:])


def _symbol(symbols: list[str], encoded: bytes) -> str:
    return symbols[encoded[0] >> 1]


def _text(encoded: bytes) -> str:
    return encoded[1 + (encoded[0] > 0x7F) :].decode()


def _whole(encoded: bytes) -> str:
    whole = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded))
    return str(whole >> 1 ^ -(whole & 1))


def _nothing(_: bytes) -> None:
    return None


_PLAIN: dict[str, Value] = {"string": _text, "int": _whole, "long": _whole, "null": _nothing}
_ALONE = {"type": "record", "name": "lethe_second_look"}


# --- Patterns ---------------------------------------------------------------------------------


class _Language:
    """The patterns of values. A long one knows texts of up to 8 kB, a short one of 63 bytes.

    Groups that stand for bits are set once a row, so there are none within what repeats.
    """

    def __init__(self, wanted: Iterable[str], is_long: bool) -> None:
        self._columns = dict(zip(wanted, _columns(wanted), strict=False))
        self._is_long = is_long
        self._bits = 0
        self._known: dict[str, Schema] = {}
        self._within: list[str] = []

    def rows(self, schema: Schema) -> re.Pattern[bytes]:
        """Matches a row, with a group for each column; or all that follows, with none.

        Raises ``OtherRows`` if there is no such pattern.
        """
        row = b"".join(map(self._field, schema["fields"]))
        if len(row) > _LONGEST:
            raise OtherRows
        return re.compile(b"(?:%b)|.+" % row, re.DOTALL)

    def _field(self, field: Mapping[str, Any]) -> bytes:
        pattern = self._of(field["type"], False)
        column = self._columns.get(field["name"])
        return pattern if column is None else b"(?P<%b>%b)" % (column.encode(), pattern)

    def _of(self, kind: Schema, repeats: bool) -> bytes:
        if isinstance(kind, str):
            kind = self._known.get(kind, {"type": kind})
        match kind:
            case list():
                return _either(self._of(branch, repeats) for branch in kind)
            case {"type": "record" | "error"}:
                return self._record(kind, repeats)
            case {"type": "array", "items": items}:
                return self._blocks(lambda: self._of(items, True), repeats)
            case {"type": "map", "values": values}:
                return self._blocks(lambda: _SHORT_TEXT + self._of(values, True), repeats)
            case {"type": "string" | "bytes"}:
                return self._text(repeats)
        return self._scalar(kind)

    def _scalar(self, kind: Mapping[str, Any]) -> bytes:
        if "name" in kind:
            self._known[kind["name"]] = kind
        match kind:
            case {"type": "enum", "symbols": symbols}:
                return _either(b"" for _ in symbols)
            case {"type": "fixed", "size": size}:
                return b".{%d}" % size
            case {"type": plain} if plain in _SCALARS:
                return _SCALARS[plain]
        raise OtherRows

    def _record(self, kind: Mapping[str, Any], repeats: bool) -> bytes:
        """Its fields one behind the other; of one that holds itself there is no pattern."""
        if kind["name"] in self._within:
            raise OtherRows
        self._known[kind["name"]] = kind
        self._within.append(kind["name"])
        fields = b"".join(self._of(field["type"], repeats) for field in kind["fields"])
        self._within.pop()
        return fields

    def _text(self, repeats: bool) -> bytes:
        if repeats or not self._is_long:
            return _SHORT_TEXT
        set_, passed = self._bits_of(b".", 1, _LENGTH_BITS, lambda bit: b".{%d}" % (_FEW << bit))
        two_bytes = b"(?=[\x80-\xff][\x01-\x7f])"
        return b"(?:%b|%b%b%b.%b)" % (_SHORT_TEXT, two_bytes, set_, _TEXT_BEYOND, passed)

    def _blocks(self, item: Callable[[], bytes], repeats: bool) -> bytes:
        """A list or map, in one block of items or none."""
        if repeats:
            return rb"\x00"
        one = item()
        set_, passed = self._bits_of(
            b"", 2, _COUNT_BITS, lambda bit: b"(?:%b){%d}" % (one, 1 << bit)
        )
        count = _set_of(range(2, 2 << _COUNT_BITS, 2))
        return rb"(?:\x00|(?=%b)%b.%b\x00)" % (count, set_, passed)

    def _bits_of(
        self, behind: bytes, lowest: int, count: int, unit: Callable[[int], bytes]
    ) -> tuple[bytes, bytes]:
        """Groups for bits of a byte, and what passes over the worth of each that is set."""
        names = [b"b%d" % (self._bits + bit) for bit in range(count)]
        self._bits += count
        tests = [behind + _with_bit(lowest << bit) for bit in range(count)]
        pairs = zip(tests, names, strict=True)
        groups = (b"(?:(?=%b)(?P<%b>)|(?!%b))" % (test, name, test) for test, name in pairs)
        passed = (b"(?(%b)%b)" % (name, unit(bit)) for bit, name in enumerate(names))
        return b"".join(groups), b"".join(passed)


def _columns(wanted: Iterable[str]) -> list[str]:
    """The names of groups: those of columns are no identifiers."""
    return [f"c{place}" for place, _ in enumerate(wanted)]


def _either(branches: Iterable[bytes]) -> bytes:
    """One of some that are told apart by the number before them."""
    patterns = list(branches)
    if len(patterns) > _FEW:
        raise OtherRows
    return b"(?:%b)" % b"|".join(_byte(2 * n) + one for n, one in enumerate(patterns))


def _byte(number: int) -> bytes:
    return rb"\x%02x" % number


def _set_of(numbers: Iterable[int]) -> bytes:
    return b"[%b]" % b"".join(map(_byte, numbers))


def _with_bit(mask: int) -> bytes:
    return _set_of(number for number in range(256) if number & mask)


_SHORT_TEXT = _either(b".{%d}" % size for size in range(_FEW))
_TEXT_BEYOND = b"(?:%b)" % b"|".join(
    b"%b.{%d}" % (_byte(0x80 + 2 * size), size) for size in range(_FEW)
)
"""A text's first byte and, of what follows the second, as much as the first one tells."""
