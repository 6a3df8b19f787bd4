"""Columns from attribute values: DynamoDB typed JSON to Arrow, a block at a time.

For every kind of field there is a reader. It names the msgspec type that an attribute value
decodes into - so that JSON is parsed and type-checked in C - and turns a list of decoded values
into one Arrow array. The common case is one vectorised cast; when a cast refuses a column, its
values are looked at one by one, and only the wrong ones become faults.

A reader also counts the JSON keys it consumed. Held against the keys that the bytes contain, the
sum tells at once whether anything was duplicated or is unknown (see ``transforms.decode``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from schemas.arrow import arrow_type
from schemas.changes import ErrorCode
from schemas.fields import (
    BooleanKind,
    BytesKind,
    DateKind,
    DecimalKind,
    EnumKind,
    Field,
    FloatKind,
    IntegerKind,
    Kind,
    ListKind,
    MapKind,
    RecordKind,
    StringKind,
    TimestampKind,
)
from transforms.values import (
    EARLIEST_DAY,
    EARLIEST_MICROS,
    LATEST_DAY,
    LATEST_MICROS,
    BadValue,
    iso_of_millis,
    parse_base64,
    parse_date,
    parse_decimal,
    parse_float,
    parse_int,
    parse_time,
)

T = TypeVar("T")

_NINE = ord("9")


class StringValue(Struct, gc=False):
    S: str


class OptionalString(Struct, gc=False):
    S: str | None = None
    NULL: bool | None = None


class NumberValue(Struct, gc=False):
    N: str


class OptionalNumber(Struct, gc=False):
    N: str | None = None
    NULL: bool | None = None


class BooleanValue(Struct, gc=False):
    BOOL: bool


class OptionalBoolean(Struct, gc=False):
    BOOL: bool | None = None
    NULL: bool | None = None


class BinaryValue(Struct, gc=False):
    B: str


class OptionalBinary(Struct, gc=False):
    B: str | None = None
    NULL: bool | None = None


class TimeValue(Struct, gc=False):
    S: str | None = None
    N: str | None = None
    NULL: bool | None = None


class ListValue(Struct, Generic[T], gc=False):
    L: list[T] | None = None
    SS: list[str] | None = None
    NS: list[str] | None = None
    BS: list[str] | None = None
    NULL: bool | None = None


class MapValue(Struct, Generic[T], gc=False):
    M: T | None = None
    NULL: bool | None = None


@dataclass(frozen=True)
class RowFault:
    """A wrong value: its row, what is wrong, and the path below the field (``items.price``)."""

    row: int
    code: ErrorCode
    path: str = ""


@dataclass
class Column:
    """One field of a block's rows; wrong values are null here and named in ``faults``.

    ``keys`` is the number of JSON keys each row's value was read from (one number when all
    rows are alike).
    """

    array: Any
    keys: int | npt.NDArray[np.int64]
    faults: list[RowFault] = field(default_factory=list)


class Reader:
    """Reads one field: ``value_type`` is what msgspec decodes an attribute value into.

    ``taken`` is an expression for what is kept of a value, called ``{0}``, until a block is read:
    the value itself, or its bare content where that alone tells everything.
    """

    value_type: Any
    taken = "{0}"

    def __init__(self, nullable: bool) -> None:
        self.nullable = nullable

    def read(self, values: Sequence[Any]) -> Column:
        """The column of ``values``, each a ``value_type`` or None where the field is absent."""
        raise NotImplementedError

    def read_taken(self, values: Sequence[Any]) -> Column:
        """The column of what was taken of values by ``taken``."""
        return self.read(values)

    def keys(
        self, values: Sequence[Any], contents: Sequence[Any]
    ) -> tuple[int | npt.NDArray[np.int64], list[RowFault]]:
        """A name and a type tag for each value that has content; the faults of those that lack it.

        Never more keys than there are: a value such as ``{}`` has a name and no tag.
        """
        if None not in contents:
            return 2, []
        filled = np.fromiter((content is not None for content in contents), np.bool_, len(contents))
        keys, faults = filled * np.int64(2), []
        for row in map(int, np.flatnonzero(~filled)):
            value = values[row]
            if value is not None:
                keys[row] = 2 if value.NULL else 1
                if not (value.NULL and self.nullable):
                    faults.append(RowFault(row, _code_without_content(value)))
        return keys, faults


class ScalarReader(Reader):
    """A kind whose attribute value holds one string, number, boolean or binary."""

    def __init__(
        self,
        kind: Kind,
        nullable: bool,
        tag: str,
        types: tuple[Any, Any],
        parse: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(nullable)
        self.value_type = types[1] if nullable else types[0]
        self._always_filled = not self.value_type.__struct_defaults__
        self.arrow_type = arrow_type(kind)
        self.tag = tag
        self.set_tag = tag + "S"
        self._content = attrgetter(tag)
        self._parse = parse
        if self._always_filled:
            self.taken = f"{{0}}.{tag}"

    def read(self, values: Sequence[Any]) -> Column:
        contents = self.contents(values)
        array, faults = self.build(contents)
        keys, hollow = self.keys(values, contents)
        return Column(array, keys, faults + hollow)

    def read_taken(self, values: Sequence[Any]) -> Column:
        if not self._always_filled:
            return self.read(values)
        array, faults = self.build(values)
        return Column(array, 2, faults)

    def contents(self, values: Sequence[Any]) -> list[Any]:
        content = self._content
        if not self.nullable:
            return list(map(content, values))
        return [None if value is None else content(value) for value in values]

    def build(self, contents: Sequence[Any]) -> tuple[Any, list[RowFault]]:
        """The Arrow array of the bare contents, and the faults among them."""
        if self._parse is None:
            return pa.array(contents, self.arrow_type), []
        return self.build_texts(pa.array(contents, pa.string()))

    def build_texts(self, texts: Any) -> tuple[Any, list[RowFault]]:
        """``build`` for contents that are Arrow strings, made just now."""
        if self._parse is None:
            return texts, []
        try:
            return self._cast(texts), []
        except pa.ArrowInvalid:
            return self._one_by_one(texts.to_pylist())

    def _cast(self, texts: Any) -> Any:
        """All texts at once, each as ``parse`` would have it; raises ``pa.ArrowInvalid`` if not."""
        return texts.cast(self.arrow_type)

    def _one_by_one(self, contents: Sequence[Any]) -> tuple[Any, list[RowFault]]:
        assert self._parse is not None
        parsed: list[Any] = []
        faults = []
        for row, content in enumerate(contents):
            try:
                parsed.append(None if content is None else self._parse(content))
            except BadValue as bad:
                parsed.append(None)
                faults.append(RowFault(row, bad.code))
        return pa.array(parsed, self.arrow_type), faults


class NumberReader(ScalarReader):
    """Numbers. Only plain digits are cast at once.

    Letters are left to ``parse``: Arrow takes ``0x1F``, ``inf`` and ``nan`` for numbers.
    """

    def _cast(self, texts: Any) -> Any:
        if _highest_byte(texts) > _NINE:
            raise pa.ArrowInvalid("not plain digits")
        return super()._cast(texts)


class FloatReader(NumberReader):
    def _cast(self, texts: Any) -> Any:
        numbers = super()._cast(texts)
        if pc.all(pc.is_finite(numbers), skip_nulls=True, min_count=0).as_py() is False:
            raise pa.ArrowInvalid("not finite")
        return numbers


class DecimalReader(NumberReader):
    """Decimals. Texts so long that they overflow Arrow's 128 bits, which wrap, are not cast."""

    def __init__(self, kind: DecimalKind, nullable: bool, types: tuple[Any, Any]) -> None:
        super().__init__(kind, nullable, "N", types, lambda text: parse_decimal(text, kind))
        self._safe_length = 38 - kind.scale

    def _cast(self, texts: Any) -> Any:
        if (pc.max(pc.binary_length(texts)).as_py() or 0) > self._safe_length:
            raise pa.ArrowInvalid("may overflow")
        return super()._cast(texts)


class BinaryReader(ScalarReader):
    def _cast(self, texts: Any) -> Any:
        raise pa.ArrowInvalid(f"{len(texts)} base64 texts are decoded one by one")


class DateReader(ScalarReader):
    def _cast(self, texts: Any) -> Any:
        days = super()._cast(texts)
        _check_range(days.cast(pa.int32()), EARLIEST_DAY, LATEST_DAY)
        return days


class TimeReader(ScalarReader):
    """Times: ISO 8601 text with a zone, or epoch milliseconds as a number."""

    def __init__(self, nullable: bool) -> None:
        types = (TimeValue, TimeValue)
        super().__init__(TimestampKind(), nullable, "S", types, parse_time)
        if not nullable:
            self.taken = "({0}.S or {0})"

    def contents(self, values: Sequence[Any]) -> list[Any]:
        return [v if v is None or v.__class__ is str else _time_content(v) for v in values]

    def read_taken(self, values: Sequence[Any]) -> Column:
        if self.nullable:
            return self.read(values)
        try:
            array, faults = self.build(values)
        except pa.ArrowTypeError:  # not all are text
            return self.read(values)
        return Column(array, 2, faults)

    def micros(self, texts: Any) -> Any:
        """ISO texts as microseconds; raises ``pa.ArrowInvalid`` if one of them is none."""
        return self._cast(texts).cast(pa.int64()).to_numpy()

    def _cast(self, texts: Any) -> Any:
        moments = super()._cast(texts)
        _check_range(moments.cast(pa.int64()), EARLIEST_MICROS, LATEST_MICROS)
        return moments


class ListReader(Reader):
    """L of any kind."""

    def __init__(self, kind: ListKind, nullable: bool) -> None:
        super().__init__(nullable)
        self.item = reader_for(kind.item, kind.item_nullable)
        self.value_type = ListValue[self.item.value_type]  # type: ignore[name-defined]
        self.arrow_type = arrow_type(kind)

    def read(self, values: Sequence[Any]) -> Column:
        rows = self._rows(values)
        lengths = np.fromiter(map(len, _present(rows)), np.int64, len(rows))
        flat, item_keys, item_faults = self._items(values, rows, lengths)
        keys, faults = self.keys(values, rows)
        owners = np.repeat(np.arange(len(rows)), lengths) if item_faults else lengths
        faults += [RowFault(int(owners[f.row]), f.code, f.path) for f in item_faults]
        absent = np.array([items is None for items in rows]) if None in rows else None
        return Column(self.nest(flat, lengths, absent), keys + item_keys, faults)

    def _rows(self, values: Sequence[Any]) -> list[Any]:
        """Each row's items; None where the list is absent or NULL."""
        return [None if value is None else value.L for value in values]

    def _items(
        self, _values: Sequence[Any], rows: list[Any], lengths: npt.NDArray[np.int64]
    ) -> tuple[Any, Any, list[RowFault]]:
        """All items as one array, the keys they were read from by row, and their faults."""
        column = self.item.read(list(chain.from_iterable(_present(rows))))
        # An item of a list has a type tag but, unlike a field, no name.
        keys = np.zeros(len(column.array), np.int64) + column.keys - 1
        return column.array, _sum_by_row(keys, lengths), column.faults

    def nest(
        self,
        flat: Any,
        lengths: npt.NDArray[np.int64],
        absent: npt.NDArray[np.bool_] | None,
    ) -> Any:
        """Lists of these lengths of all their items; null where absent, if they may be."""
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        mask = pa.array(absent) if self.nullable and absent is not None else None
        return pa.ListArray.from_arrays(pa.array(offsets), flat, type=self.arrow_type, mask=mask)


class ScalarListReader(ListReader):
    """L of a scalar kind, or its set: SS, NS or BS. Items of a set have no type tags."""

    item: ScalarReader

    def _rows(self, values: Sequence[Any]) -> list[Any]:
        of_list = self.item.contents
        of_set = attrgetter(self.item.set_tag)
        return [
            None if value is None else of_set(value) if value.L is None else of_list(value.L)
            for value in values
        ]

    def _items(
        self, values: Sequence[Any], rows: list[Any], lengths: npt.NDArray[np.int64]
    ) -> tuple[Any, Any, list[RowFault]]:
        contents = list(chain.from_iterable(_present(rows)))
        array, faults = self.item.build(contents)
        tagged = np.array([value is not None and value.L is not None for value in values], np.bool_)
        if None not in contents:
            return array, lengths * tagged, faults
        items = list(chain.from_iterable(_tagged_items(values, rows)))
        keys, hollow = self.item.keys(items, contents)
        keys = (keys - 1) * np.repeat(tagged, lengths)
        return array, _sum_by_row(keys, lengths), faults + hollow


class MapReader(Reader):
    """M with keys that the data chooses, all values of one kind."""

    def __init__(self, kind: MapKind, nullable: bool) -> None:
        super().__init__(nullable)
        self.item = reader_for(kind.value, kind.value_nullable)
        self.value_type = MapValue[dict[str, self.item.value_type]]  # type: ignore[name-defined]
        self.arrow_type = arrow_type(kind)

    def read(self, values: Sequence[Any]) -> Column:
        maps = [None if value is None else value.M for value in values]
        keys, faults = self.keys(values, maps)
        lengths = np.fromiter((len(entries or ()) for entries in maps), np.int64, len(maps))
        flat = list(chain.from_iterable(entries.values() for entries in maps if entries))
        names = list(chain.from_iterable(entries for entries in maps if entries))
        column = self.item.read(flat)
        item_keys = np.broadcast_to(np.asarray(column.keys, np.int64), len(flat))
        owners = np.repeat(np.arange(len(maps)), lengths)
        faults += [RowFault(int(owners[f.row]), f.code, f.path) for f in column.faults]
        nested = self._nest(names, column.array, maps, lengths)
        return Column(nested, keys + _sum_by_row(item_keys, lengths), faults)

    def _nest(
        self, names: list[str], items: Any, maps: list[Any], lengths: npt.NDArray[np.int64]
    ) -> Any:
        offsets = np.zeros(len(maps) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        entries = pa.array(names, pa.string())
        # Not by a cast, which refuses the nulls that stand for faulty values.
        nested = pa.MapArray.from_arrays(pa.array(offsets), entries, items, type=self.arrow_type)
        absent = pa.array([entries is None for entries in maps])
        return pc.if_else(absent, None, nested)


class RecordReader(Reader):
    """M with the fields that the schema names."""

    def __init__(self, kind: RecordKind, nullable: bool) -> None:
        super().__init__(nullable)
        self.image = ImageReader(kind.fields, kind.name)
        self.value_type = MapValue[self.image.image_type]  # type: ignore[name-defined]
        self.arrow_type = arrow_type(kind)

    def read(self, values: Sequence[Any]) -> Column:
        maps = [None if value is None else value.M for value in values]
        own_keys, faults = self.keys(values, maps)
        rows = np.array([row for row, entries in enumerate(maps) if entries is not None], np.int64)
        take = self.image.row
        columns = self.image.read([take(entries) for entries in maps if entries is not None])
        keys = np.zeros(len(values), np.int64) + own_keys
        keys[rows] += total_keys(columns)
        array = self.nest(columns, rows, len(maps))
        return Column(array, keys, faults + faults_within(columns, rows))

    def nest(self, columns: Mapping[str, Column], rows: Any, count: int) -> Any:
        """Records of these columns in ``rows`` of ``count``; null in the others."""
        present = pa.StructArray.from_arrays(
            [column.array for column in columns.values()], fields=list(self.arrow_type)
        )
        if len(rows) == count:
            return present
        places = np.full(count, -1, np.int64)
        places[rows] = np.arange(len(rows))
        return present.take(pa.array(places, mask=places < 0))


class ImageReader:
    """Reads all fields of an item's image, or of a nested record."""

    def __init__(self, fields: Sequence[Field], name: str) -> None:
        self.fields = tuple(fields)
        self.readers = [reader_for(f.kind, f.nullable) for f in self.fields]
        self.known = frozenset(f.source for f in self.fields)
        self.image_type = self._struct(name)
        self.row: Callable[[Any], tuple[Any, ...]] = self._row_maker()

    def _struct(self, name: str) -> Any:
        members = [
            (f"f{place}", reader.value_type | None, None)
            if field.nullable
            else (f"f{place}", reader.value_type)
            for place, (field, reader) in enumerate(zip(self.fields, self.readers, strict=True))
        ]
        rename = {f"f{place}": field.source for place, field in enumerate(self.fields)}
        return msgspec.defstruct(name, members, rename=rename, gc=False, kw_only=True)

    def _row_maker(self) -> Callable[[Any], tuple[Any, ...]]:
        """A function that takes what is read of an image out of it, as one tuple.

        Made to measure, because it runs for every record: an image is let go of while it is
        still in the processor's cache, and all images of a block never live at once.
        """
        parts = [r.taken.format(f"image.f{place}") for place, r in enumerate(self.readers)]
        maker: Callable[[Any], tuple[Any, ...]] = eval(f"lambda image: ({', '.join(parts)},)")
        return maker

    def read(self, rows: list[tuple[Any, ...]]) -> dict[str, Column]:
        """One column a field, by the field's lake name, of what ``row`` made of images."""
        taken = zip(*rows, strict=True) if rows else [()] * len(self.fields)
        return {
            field.name: reader.read_taken(values)
            for field, reader, values in zip(self.fields, self.readers, taken, strict=True)
        }


def reader_for(kind: Kind, nullable: bool) -> Reader:
    """The reader of a kind."""
    strings, numbers = (StringValue, OptionalString), (NumberValue, OptionalNumber)
    match kind:
        case StringKind() | EnumKind():
            return ScalarReader(kind, nullable, "S", strings, None)
        case BooleanKind():
            return ScalarReader(kind, nullable, "BOOL", (BooleanValue, OptionalBoolean), None)
        case BytesKind():
            return BinaryReader(kind, nullable, "B", (BinaryValue, OptionalBinary), parse_base64)
        case IntegerKind(bits):
            return NumberReader(kind, nullable, "N", numbers, lambda text: parse_int(text, bits))
        case FloatKind(bits):
            return FloatReader(kind, nullable, "N", numbers, lambda text: parse_float(text, bits))
        case DecimalKind():
            return DecimalReader(kind, nullable, numbers)
        case TimestampKind():
            return TimeReader(nullable)
        case DateKind():
            return DateReader(kind, nullable, "S", strings, parse_date)
        case ListKind(item):
            scalar = not isinstance(item, ListKind | MapKind | RecordKind | BooleanKind)
            return (ScalarListReader if scalar else ListReader)(kind, nullable)
        case MapKind():
            return MapReader(kind, nullable)
        case RecordKind():
            return RecordReader(kind, nullable)


def total_keys(columns: Mapping[str, Column]) -> Any:
    """The keys that each row's values were read from, over all columns."""
    return sum((column.keys for column in columns.values()), start=0)


def faults_within(columns: Mapping[str, Column], rows: Any) -> list[RowFault]:
    """The faults of the columns of nested records, which are in ``rows``."""
    return [
        RowFault(int(rows[f.row]), f.code, _join(name, f.path))
        for name, column in columns.items()
        for f in column.faults
    ]


def _time_content(value: TimeValue) -> str | None:
    if value.S is not None or value.N is None:
        return value.S
    return iso_of_millis(value.N)


def _present(rows: list[Any]) -> Iterable[Any]:
    """The rows, with nothing in place of those that are None."""
    return rows if None not in rows else [row or () for row in rows]


def _code_without_content(value: Any) -> ErrorCode:
    if value.NULL:
        return ErrorCode.MISSING_FIELD
    return ErrorCode.WRONG_TYPE if getattr(value, "N", None) is None else ErrorCode.BAD_NUMBER


def _tagged_items(values: Sequence[Any], rows: list[Any]) -> Iterator[Any]:
    """Each row's items as they were decoded; those of a set are bare texts."""
    for value, items in zip(values, rows, strict=True):
        yield value.L if items and value.L is not None else items or ()


def _highest_byte(texts: Any) -> int:
    """The highest byte in an array of strings that was made just now (and so has no offset)."""
    data = texts.buffers()[2]
    return int(np.frombuffer(data, np.uint8).max()) if data is not None and data.size else 0


def _check_range(numbers: Any, least: int, most: int) -> None:
    """Raises ``pa.ArrowInvalid`` if a number lies outside; numbers, because not all are dates."""
    found = pc.min_max(numbers).as_py()
    if found["min"] is not None and not (least <= found["min"] and found["max"] <= most):
        raise pa.ArrowInvalid("a value is out of range")


def _sum_by_row(
    item_keys: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    ends = np.cumsum(lengths)
    sums = np.concatenate([[0], np.cumsum(item_keys)])
    return sums[ends] - sums[ends - lengths]


def _join(name: str, path: str) -> str:
    return f"{name}.{path}" if path else name
