"""Avro object container files, written straight from Arrow record batches.

No Python object is made for a row. Each column becomes *pieces*: Arrow binary arrays with one
element a row, which hold Avro's binary encoding (a tag, a length, the data). Joining the pieces
of all columns row by row lays the rows end to end, and that is the payload of an Avro block::

    column a: [02][02][00]   [6..][4..][  ]   tag piece, value piece (nothing where the row is null)
    column b: [08][06][0a]   [Oslo][Rom][Paris]
    joined:   02 6.. 08 Oslo | 02 4.. 06 Rom | 00 0a Paris

The rules are those of the Apache Avro 1.12 specification, "Binary Encoding", "Object Container
Files" and "Logical Types".
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SchemaError, UsageError
from schemas.fields import RecordType
from transforms.avro_container import MAGIC, encoded_number

MAX_BLOCK_ROWS = 16_000
FULL_BLOCK_BYTES = 512 * 1024
"""A block is closed by the row that takes it to this many encoded bytes."""

_EMPTY = pa.scalar(b"", pa.binary())
_ZERO = pa.scalar(b"\x00", pa.binary())
_ONE = pa.scalar(b"\x01", pa.binary())
_TWO = pa.scalar(b"\x02", pa.binary())
_NOTHING = pa.scalar(None, pa.binary())

Pieces = list[Any]
"""Arrow binary arrays of one length; a row's bytes are their elements in order, nulls left out."""

Bytes = npt.NDArray[np.uint8]
Booleans = npt.NDArray[np.bool_]


class Sink(Protocol):
    """Where a file's bytes go; ``write`` takes all it is given."""

    def write(self, data: bytes, /) -> object: ...


class AvroBatchEncoder:
    """Encodes Arrow record batches as rows of one record type.

    Columns are matched to the type's Avro fields by name. Raises ``SchemaError`` for an Avro
    type that ``schemas.registry`` does not take either (``fixed``, a union of more than null and
    one type, a reference to a named type).
    """

    def __init__(self, record_type: RecordType) -> None:
        self._record = _record(record_type.avro, "")

    def encode(self, batch: pa.RecordBatch) -> tuple[int, memoryview]:
        """The number of rows, and their Avro binary encoding laid end to end.

        Raises ``ValueError`` naming the field, never a value, if a column is missing, not in
        the schema, of another type, null where the schema allows no null, or holds an enum
        symbol or a number that the schema has no room for.
        """
        return batch.num_rows, _payload(self.encode_rows(batch))

    def encode_rows(self, batch: pa.RecordBatch) -> pa.BinaryArray:
        """The Avro binary encoding of each row; raises as ``encode`` does."""
        return _join(self._record.pieces(batch.to_struct_array()))


class AvroFileWriter:
    """Writes one Avro object container file to ``sink``, a block at a time.

    ``codec`` is one of ``CODECS``. ``metadata`` goes into the file's header beside
    ``avro.schema`` and ``avro.codec``; its keys must not start with ``avro.``. The bytes written
    depend on the record type, codec, metadata and rows alone (not on how the rows are cut into
    batches), so that a retry writes the same file; the sync marker is derived from the first
    three. Between calls no more than one unfinished block is held.

    Raises ``UsageError`` for an unknown codec or a reserved metadata key, and ``SchemaError`` as
    ``AvroBatchEncoder`` does. Nothing is written before a block is full or the file is closed.
    """

    def __init__(
        self,
        sink: Sink,
        record_type: RecordType,
        codec: str = "zstandard",
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._sink = sink
        self._encoder = AvroBatchEncoder(record_type)
        self._compress = compressor(codec)
        header = _header(record_type, codec, metadata)
        self._sync = hashlib.sha256(record_type.fingerprint.encode() + header).digest()[:16]
        self._unwritten = header + self._sync
        self._chunks: list[memoryview] = []
        self._rows = 0
        self._size = 0
        self._closed = False

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the batch's rows.

        Raises ``ValueError`` as ``AvroBatchEncoder.encode`` does; the file is then to be thrown
        away, for a part of the batch may be in it.
        """
        if self._closed:
            raise ValueError("rows were written to an Avro file that is closed")
        for part in _slices(batch):
            self._append(self._encoder.encode_rows(part))

    def close(self) -> None:
        """Write what is held. The sink stays open. Safe to call twice."""
        if self._rows:
            self._flush_block()
        if self._unwritten:
            self._flush_header()
        self._closed = True

    def _append(self, rows: pa.BinaryArray) -> None:
        # Blocks are cut at exact rows, so that they do not depend on the batches.
        ends, data = _offsets(rows), _payload(rows)
        start = 0
        while start < len(rows):
            stop = self._block_end(ends, start)
            self._chunks.append(data[ends[start] : ends[stop]])
            self._rows += stop - start
            self._size += int(ends[stop] - ends[start])
            start = stop
            if self._rows == MAX_BLOCK_ROWS or self._size >= FULL_BLOCK_BYTES:
                self._flush_block()

    def _block_end(self, ends: npt.NDArray[np.int32], start: int) -> int:
        """The row before which the open block ends, if ``ends`` reaches that far."""
        full = ends.searchsorted(int(ends[start]) + FULL_BLOCK_BYTES - self._size)
        return min(int(full), start + MAX_BLOCK_ROWS - self._rows, len(ends) - 1)

    def _flush_block(self) -> None:
        data = self._compress(b"".join(self._chunks))
        head = encoded_number(self._rows) + encoded_number(len(data))
        self._flush_header()
        self._sink.write(b"".join((head, data, self._sync)))
        self._chunks, self._rows, self._size = [], 0, 0

    def _flush_header(self) -> None:
        header, self._unwritten = self._unwritten, b""
        if header:
            self._sink.write(header)


# --- The file around the blocks ---------------------------------------------------------------


def _header(record_type: RecordType, codec: str, metadata: Mapping[str, str]) -> bytes:
    """Magic and metadata map: all of the header but the sync marker."""
    if any(key.startswith("avro.") for key in metadata):
        raise UsageError("Avro file metadata keys that start with 'avro.' are reserved")
    schema = json.dumps(record_type.avro, ensure_ascii=False, separators=(",", ":"))
    entries = {"avro.codec": codec, "avro.schema": schema, **dict(sorted(metadata.items()))}
    pairs = b"".join(_text(key) + _text(value) for key, value in entries.items())
    return MAGIC + encoded_number(len(entries)) + pairs + b"\x00"


def _text(value: str) -> bytes:
    data = value.encode()
    return encoded_number(len(data)) + data


def _zstandard(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd", compression_level=3).compress(data, asbytes=True))


def _snappy(data: bytes) -> bytes:
    compressed = pa.Codec("snappy").compress(data, asbytes=True)
    return bytes(compressed + struct.pack(">I", zlib.crc32(data)))


def _deflate(data: bytes) -> bytes:
    # Negative window bits: Avro wants the raw stream, without zlib's header and checksum.
    return zlib.compress(data, level=6, wbits=-15)


def _null(data: bytes) -> bytes:
    return data


_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zstandard": _zstandard,
    "snappy": _snappy,
    "deflate": _deflate,
    "null": _null,
}
CODECS = tuple(_COMPRESSORS)
"""The Avro codec names that ``AvroFileWriter`` takes, its default first."""


def compressor(codec: str) -> Callable[[bytes], bytes]:
    """What packs a block. Raises ``UsageError`` for a codec that is none of ``CODECS``."""
    if codec not in _COMPRESSORS:
        raise UsageError(f"unknown Avro codec {codec!r}; choose one of {', '.join(CODECS)}")
    return _COMPRESSORS[codec]


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts small enough that their encoding is about two blocks."""
    rows_of_size = 2 * FULL_BLOCK_BYTES * batch.num_rows // max(batch.nbytes, 1)
    step = max(1, min(MAX_BLOCK_ROWS, rows_of_size))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


# --- Encoders: types with parts, and nulls ----------------------------------------------------


class _Value(ABC):
    """Encodes the values of one Avro type, apart from the question of null."""

    @abstractmethod
    def pieces(self, array: pa.Array) -> Pieces:
        """The pieces of an array, in which a null stands for nothing at all to be written."""


class _Slot(ABC):
    """A place for values (a field, an item), which decides what a null means there."""

    @abstractmethod
    def pieces(self, array: pa.Array, present: pa.BooleanArray | None) -> Pieces:
        """The pieces of an array; nothing is written where ``present`` is false."""


@dataclass(frozen=True)
class _Required(_Slot):
    path: str
    value: _Value

    def pieces(self, array: pa.Array, present: pa.BooleanArray | None) -> Pieces:
        array = _decoded(array)
        absent = 0 if present is None else len(present) - present.true_count
        if array.null_count != absent:
            nulls = array.null_count - absent
            raise ValueError(f"field {self.path!r} is null in {nulls} rows and must not be")
        return self.value.pieces(array)


@dataclass(frozen=True)
class _Nullable(_Slot):
    """A union of null and one other type; the tags are the encoded branch indexes."""

    value: _Value
    null_tag: pa.Scalar
    value_tag: pa.Scalar

    def pieces(self, array: pa.Array, present: pa.BooleanArray | None) -> Pieces:
        array = _decoded(array)
        tags = pc.if_else(array.is_valid(), self.value_tag, self.null_tag)
        if present is not None:
            tags = pc.if_else(present, tags, _NOTHING)
        if array.null_count == len(array):
            return [tags]
        return [tags, *self.value.pieces(array)]


@dataclass(frozen=True)
class _Leaf(_Value):
    """A type without parts: arrays that ``accepts`` knows are cast to ``arrow`` and encoded."""

    path: str
    arrow: pa.DataType
    accepts: Callable[[pa.DataType], bool]
    encode: Callable[[pa.Array], Pieces]

    def pieces(self, array: pa.Array) -> Pieces:
        return self.encode(_cast(array, self.arrow, self.accepts, self.path))


@dataclass(frozen=True)
class _Enum(_Value):
    path: str
    symbols: pa.StringArray

    def pieces(self, array: pa.Array) -> Pieces:
        text = _cast(array, pa.string(), _is_text, self.path)
        indexes = pc.index_in(text, value_set=self.symbols)
        if indexes.null_count != text.null_count:
            wrong = indexes.null_count - text.null_count
            raise ValueError(f"field {self.path!r} is none of its enum's symbols in {wrong} rows")
        return [_varints(indexes)]


@dataclass(frozen=True)
class _List(_Value):
    path: str
    item: _Slot

    def pieces(self, array: pa.Array) -> Pieces:
        if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
            raise _wrong_type(self.path, "list", array.type)
        items = _join(self.item.pieces(array.flatten(), None))
        return _counted(pc.list_value_length(array), items)


@dataclass(frozen=True)
class _Map(_Value):
    """A map is written as a list of its entries: a key and a value each."""

    path: str
    entries: _List

    def pieces(self, array: pa.Array) -> Pieces:
        if not pa.types.is_map(array.type):
            raise _wrong_type(self.path, "map", array.type)
        entry = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
        return self.entries.pieces(array.cast(pa.list_(entry)))


@dataclass(frozen=True)
class _Record(_Value):
    path: str
    fields: tuple[tuple[str, _Slot], ...]

    def pieces(self, array: pa.Array) -> Pieces:
        columns = self._columns(array)
        present = array.is_valid() if array.null_count else None
        pieces: Pieces = []
        for name, slot in self.fields:
            pieces += slot.pieces(columns[name], present)
        return pieces

    def _columns(self, array: pa.Array) -> dict[str, pa.Array]:
        if not pa.types.is_struct(array.type):
            raise _wrong_type(self.path, "struct", array.type)
        names = [field.name for field in array.type]
        expected = {name for name, _ in self.fields}
        if sorted(names) != sorted(expected):
            odd = ", ".join(sorted(expected.symmetric_difference(names))) or "one more than once"
            raise ValueError(f"{self._what} and its columns do not have the same fields: {odd}")
        return dict(zip(names, array.flatten(), strict=True))

    @property
    def _what(self) -> str:
        return f"field {self.path!r}" if self.path else "the record type"


# --- From an Avro schema to encoders ----------------------------------------------------------


def _slot(schema: Any, path: str) -> _Slot:
    """The encoder for a schema that may be a union with null."""
    if not isinstance(schema, list):
        return _Required(path, _value(schema, path))
    others = [branch for branch in schema if branch != "null"]
    if len(schema) != 2 or len(others) != 1:
        raise SchemaError(f"field {path!r}: the only union supported is null with one type")
    tags = (_ZERO, _TWO) if schema[0] == "null" else (_TWO, _ZERO)
    return _Nullable(_value(others[0], path), *tags)


def _value(schema: Any, path: str) -> _Value:
    """The encoder for a schema that is no union."""
    full = {"type": schema} if isinstance(schema, str) else schema
    match full["type"]:
        case "record":
            return _record(full, path)
        case "enum":
            return _Enum(path, pa.array(full["symbols"], pa.string()))
        case "array":
            return _List(path, _slot(full["items"], f"{path}[]"))
        case "map":
            return _map(full, path)
    return _leaf(full, path)


def _record(schema: Mapping[str, Any], path: str) -> _Record:
    if not schema["fields"]:
        raise SchemaError(f"record {schema['name']!r} has no fields")
    prefix = f"{path}." if path else ""
    named = ((field["name"], field["type"]) for field in schema["fields"])
    return _Record(path, tuple((name, _slot(kind, prefix + name)) for name, kind in named))


def _map(schema: Mapping[str, Any], path: str) -> _Map:
    key = _slot("string", f"{path} key")
    value = _slot(schema["values"], f"{path}{{}}")
    entry = _Record(path, (("key", key), ("value", value)))
    return _Map(path, _List(path, _Required(path, entry)))


# --- Types without parts ----------------------------------------------------------------------


def _leaf(schema: Mapping[str, Any], path: str) -> _Leaf:
    kind = schema["type"], schema.get("logicalType")
    if kind == ("bytes", "decimal"):
        return _decimal_leaf(schema, path)
    if kind not in _LEAVES:
        raise SchemaError(f"field {path!r}: Avro type {kind[0]!r}/{kind[1]!r} is not supported")
    return _Leaf(path, *_LEAVES[kind])


def _decimal_leaf(schema: Mapping[str, Any], path: str) -> _Leaf:
    precision = schema["precision"]
    # The sign takes a bit more than the digits do.
    width = (10**precision - 1).bit_length() // 8 + 1
    arrow = pa.decimal128(precision, schema.get("scale", 0))
    return _Leaf(path, arrow, pa.types.is_decimal, lambda array: _decimals(array, width))


def _is_text(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow))


def _is_binary(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow))


def _is_instant(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(arrow) and arrow.tz is not None)


def _blobs(array: pa.Array) -> Pieces:
    data = array.cast(pa.binary())
    return [_varints(pc.binary_length(data)), data]


def _integers(array: pa.Array) -> Pieces:
    return [_varints(array)]


def _dates(array: pa.Array) -> Pieces:
    # Arrow has no way from a date to 64 bits but by 32.
    return [_varints(array.cast(pa.int32()))]


def _booleans(array: pa.Array) -> Pieces:
    return [pc.if_else(array, _ONE, _ZERO)]


def _floats(array: pa.Array) -> Pieces:
    values = array.fill_null(0).to_numpy()
    width = values.dtype.itemsize
    little_endian = np.ascontiguousarray(values, dtype=f"<f{width}")
    return [_fixed(little_endian.view(np.uint8).reshape(-1, width), _valid(array))]


def _decimals(array: pa.Array, width: int) -> Pieces:
    """Two's complement of ``width`` bytes, most significant first, behind its length."""
    start, rows = array.offset, len(array)
    whole = np.frombuffer(array.buffers()[1], np.uint8).reshape(-1, 16)[start : start + rows]
    encoded = np.empty((rows, width + 1), np.uint8)
    encoded[:, 0] = width << 1
    encoded[:, 1:] = whole[:, :width][:, ::-1]
    return [_fixed(encoded, _valid(array))]


_LEAVES: dict[
    tuple[str, str | None],
    tuple[pa.DataType, Callable[[pa.DataType], bool], Callable[[pa.Array], Pieces]],
] = {
    ("string", None): (pa.string(), _is_text, _blobs),
    ("bytes", None): (pa.binary(), _is_binary, _blobs),
    ("boolean", None): (pa.bool_(), pa.types.is_boolean, _booleans),
    ("int", None): (pa.int32(), pa.types.is_integer, _integers),
    ("long", None): (pa.int64(), pa.types.is_integer, _integers),
    ("float", None): (pa.float32(), pa.types.is_float32, _floats),
    ("double", None): (pa.float64(), pa.types.is_floating, _floats),
    ("int", "date"): (pa.date32(), pa.types.is_date32, _dates),
    ("long", "timestamp-micros"): (pa.timestamp("us", "UTC"), _is_instant, _integers),
}
"""(Avro type, logical type) to the Arrow type, the Arrow types cast to it, and the encoding."""


def _cast(
    array: pa.Array,
    arrow: pa.DataType,
    accepts: Callable[[pa.DataType], bool],
    path: str,
) -> pa.Array:
    """The array as ``arrow``, losing nothing and holding what the type allows."""
    if not accepts(array.type):
        raise _wrong_type(path, arrow, array.type)
    try:
        cast = array.cast(arrow)
        cast.validate(full=pa.types.is_decimal(arrow))
    except pa.ArrowInvalid:
        # Arrow's message holds the value.
        raise ValueError(f"field {path!r} holds a value that is no {arrow}") from None
    return cast


def _wrong_type(path: str, wanted: object, found: pa.DataType) -> ValueError:
    return ValueError(f"field {path!r} must be an Arrow {wanted}, not {found}")


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


# --- Bytes ------------------------------------------------------------------------------------


def _varints(numbers: pa.Array) -> pa.Array:
    """Each number as zigzag base-128 bytes, least significant group first; a null as no bytes."""
    values = numbers.cast(pa.int64()).fill_null(0).to_numpy()
    zigzag = ((values << 1) ^ (values >> 63)).view(np.uint64)
    width = max(1, -(-int(zigzag.max(initial=0)).bit_length() // 7))
    groups = np.empty((len(values), width), np.uint8)
    lengths = np.ones(len(values), np.int32)
    for place in range(width):
        rest = zigzag >> np.uint64(7 * place)
        groups[:, place] = rest & np.uint64(0x7F)
        if place:
            more = rest != 0
            groups[:, place - 1] |= more.view(np.uint8) << 7
            lengths += more
    if numbers.null_count:
        lengths[~_valid(numbers)] = 0
    return _packed(groups, lengths)


def _packed(matrix: Bytes, lengths: npt.NDArray[np.int32]) -> pa.Array:
    """The first ``lengths`` bytes of each row of a matrix."""
    width = matrix.shape[1]
    if (lengths == width).all():
        return _binary(matrix, lengths)
    return _binary(matrix[np.arange(width) < lengths[:, None]], lengths)


def _fixed(matrix: Bytes, valid: Booleans) -> pa.Array:
    """The rows of a matrix, and no bytes where they are not valid."""
    return _packed(matrix, np.where(valid, np.int32(matrix.shape[1]), np.int32(0)))


def _counted(counts: pa.Array, items: pa.Array) -> Pieces:
    """Lists as Avro blocks: the count, the items and an end marker; an empty list is its end."""
    ends = np.concatenate(([0], np.cumsum(counts.fill_null(0).to_numpy())))
    bodies = _from_offsets(_offsets(items)[ends], items.buffers()[2])
    return [_varints(counts), bodies, pc.if_else(pc.greater(counts, 0), _ZERO, _EMPTY)]


def _valid(array: pa.Array) -> Booleans:
    valid: Booleans = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _binary(data: Bytes, lengths: npt.NDArray[np.int32]) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return _from_offsets(offsets, pa.py_buffer(np.ascontiguousarray(data)))


def _from_offsets(offsets: npt.NDArray[np.int32], data: pa.Buffer) -> pa.Array:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int32)), data]
    return pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _offsets(array: pa.BinaryArray) -> npt.NDArray[np.int32]:
    """Where each element of a freshly made binary array starts, and the end of the last."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    return offsets[: len(array) + 1]


def _payload(array: pa.BinaryArray) -> memoryview:
    """All bytes of a freshly made binary array."""
    data = array.buffers()[2]
    return memoryview(data)[: _offsets(array)[-1]] if data else memoryview(b"")


def _join(pieces: Pieces) -> pa.BinaryArray:
    return pc.binary_join_element_wise(
        *pieces, _EMPTY, null_handling="replace", null_replacement=b""
    )
