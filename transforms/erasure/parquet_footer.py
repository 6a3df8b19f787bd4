"""A Parquet file's footer: where its column chunks lie, and how a reader sees one column alone.

All that a footer says is kept as it stands, known or not (``transforms.erasure.thrift``); the
numbers below are those of the format: https://github.com/apache/parquet-format
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from transforms.erasure import thrift
from transforms.erasure.thrift import I32, I64, LIST, STRUCT, Struct, Value, Values

MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
_LONGEST_FOOTER = 1024 * 1024 * 1024


class NotParquet(InputError):
    """A file is no Parquet file that can be read; the message does not name the file."""

    code = "bad_parquet"


class File(IntEnum):
    """Fields of a footer (``FileMetaData``)."""

    VERSION = 1
    SCHEMA = 2
    ROWS = 3
    GROUPS = 4
    CREATED_BY = 6
    ENCRYPTION = 8


class Group(IntEnum):
    """Fields of a ``RowGroup``."""

    CHUNKS = 1
    BYTES = 2
    ROWS = 3
    SORTED_BY = 4
    OFFSET = 5
    PACKED_BYTES = 6
    ORDINAL = 7


class Chunk(IntEnum):
    """Fields of a ``ColumnChunk``."""

    PATH = 1
    OFFSET = 2
    META = 3
    OFFSET_INDEX = 4
    OFFSET_INDEX_BYTES = 5
    COLUMN_INDEX = 6
    COLUMN_INDEX_BYTES = 7
    CRYPTO = 8


class Meta(IntEnum):
    """Fields of a ``ColumnMetaData``."""

    TYPE = 1
    ENCODINGS = 2
    PATH = 3
    CODEC = 4
    VALUES = 5
    BYTES = 6
    PACKED_BYTES = 7
    KEY_VALUES = 8
    DATA_PAGE = 9
    INDEX_PAGE = 10
    DICTIONARY_PAGE = 11
    STATISTICS = 12
    PAGE_ENCODINGS = 13
    BLOOM = 14
    BLOOM_BYTES = 15


class Element(IntEnum):
    """Fields of a ``SchemaElement``."""

    TYPE = 1
    LENGTH = 2
    REPETITION = 3
    NAME = 4
    CHILDREN = 5
    CONVERTED = 6
    PRECISION = 8
    LOGICAL = 10


INT96 = 3
_BYTES_TYPE, _FIXED_TYPE = 6, 7
_DECIMAL = 5
_UNSIGNED = range(11, 15)
_INTERVAL = 21
_SHAPES = frozenset({1, 2, 3})  # of converted types: a map, its entries, a list
_LOGICAL_SHAPES = frozenset({2, 3})
_LOGICAL_DECIMAL, _LOGICAL_INTEGER, _LOGICAL_HALF = 5, 10, 15
_WITHOUT_ORDER = frozenset({16, 17, 18})  # variant, geometry, geography


@dataclass(frozen=True)
class Column:
    """A column of the file's own, with all that is in it: its leaves are column chunks."""

    name: str
    elements: tuple[Struct, ...]
    first: int
    leaves: int

    @property
    def ordered(self) -> list[bool]:
        """Of each leaf, whether values as ``view`` shows them have the order of the real ones."""
        return [_view_of(element)[1] for element in self.elements if not _is_group(element)]


def read_footer(source: BinaryIO) -> Struct:
    """A file's footer. Raises ``NotParquet``."""
    footer, _ = thrift.decode(_encoded_footer(source)[:-8])
    _check(footer)
    return footer


def read_metadata(source: BinaryIO) -> Any:
    """The footer as Arrow reads it, and no byte before it. Raises ``NotParquet``."""
    return pq.read_metadata(pa.BufferReader(MAGIC + _encoded_footer(source)))


def _encoded_footer(source: BinaryIO) -> bytes:
    """The end of a file from where the footer begins."""
    size = source.seek(0, io.SEEK_END)
    source.seek(max(size - 8, 0))
    tail = source.read(8)
    if tail[4:] == _ENCRYPTED:
        raise NotParquet("this Parquet file is encrypted: it cannot be rewritten without its keys")
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or not 0 < length <= min(size - 12, _LONGEST_FOOTER):
        raise NotParquet("this is no Parquet file, or its end is missing")
    source.seek(size - 8 - length)
    return source.read(length) + tail


def _check(footer: Struct) -> None:
    chunks = [chunk for group in groups_of(footer) for chunk in chunks_of(group)]
    if File.ENCRYPTION in footer or any(Chunk.CRYPTO in chunk for chunk in chunks):
        raise NotParquet("this Parquet file is encrypted: it cannot be rewritten without its keys")
    if any(Chunk.PATH in chunk or Chunk.META not in chunk for chunk in chunks):
        raise NotParquet("this Parquet file keeps its columns in other files: rewrite it as one")


def groups_of(footer: Struct) -> list[Struct]:
    """A footer's row groups."""
    return list(footer[File.GROUPS].held.items)


def chunks_of(group: Struct) -> list[Struct]:
    """A row group's column chunks."""
    return list(group[Group.CHUNKS].held.items)


def meta_of(chunk: Struct) -> Struct:
    """What a column chunk says of its content."""
    found: Struct = chunk[Chunk.META].held
    return found


def held(struct: Struct, field: int, default: Any = None) -> Any:
    """What a field holds; ``default`` if it is not there."""
    return struct[field].held if field in struct else default


def extent_of(chunk: Struct) -> tuple[int, int]:
    """Where a column chunk begins, and how many bytes it has."""
    meta = meta_of(chunk)
    pages = (held(meta, field, 0) for field in (Meta.DICTIONARY_PAGE, Meta.INDEX_PAGE))
    begin = min([meta[Meta.DATA_PAGE].held, *(place for place in pages if place > 0)])
    return begin, meta[Meta.PACKED_BYTES].held


def columns_of(footer: Struct) -> list[Column]:
    """The file's columns, in order."""
    elements = footer[File.SCHEMA].held.items
    found, place, leaf = [], 1, 0
    while place < len(elements):
        end = _end_of(elements, place)
        tree = tuple(elements[place:end])
        leaves = sum(not _is_group(element) for element in tree)
        name = tree[0][Element.NAME].held.decode("utf-8", "replace")
        found.append(Column(name, tree, leaf, leaves))
        place, leaf = end, leaf + leaves
    return found


def _end_of(elements: list[Struct], place: int) -> int:
    """Where the tree ends whose root stands at ``place``."""
    children, place = held(elements[place], Element.CHILDREN, 0), place + 1
    for _ in range(children):
        place = _end_of(elements, place)
    return place


def view(footer: Struct, group: Struct, columns: Sequence[Column]) -> Any:
    """The footer of a file with these columns and row group alone, for Arrow's reader.

    Values are shown as they are stored, whatever they mean: a decimal of four bytes as a whole
    number, a time in INT96 as twelve bytes. So none is changed, whatever Arrow makes of it. Columns
    are named by their numbers, for in a file two may have one name.
    """
    root: Struct = {
        Element.NAME: Value(thrift.BINARY, b"schema"),
        Element.CHILDREN: Value(I32, len(columns)),
    }
    schema = [root, *(element for column in columns for element in _viewed_elements(column))]
    rows = group[Group.ROWS].held
    viewed = [chunk for column in columns for chunk in _viewed_chunks(group, column)]
    shown = {**group, Group.CHUNKS: structs(viewed)}
    alone: Struct = {
        File.VERSION: footer[File.VERSION],
        File.SCHEMA: structs(schema),
        File.ROWS: Value(I64, rows),
        File.GROUPS: structs([shown]),
    }
    if File.CREATED_BY in footer:  # by which readers know the faults of writers
        alone[File.CREATED_BY] = footer[File.CREATED_BY]
    return pq.read_metadata(io.BytesIO(as_file(alone)))


def structs(items: list[Struct]) -> Value:
    """A list of structures."""
    return Value(LIST, Values(STRUCT, items))


def as_file(footer: Struct) -> bytes:
    """A file of nothing but its footer."""
    return MAGIC + ending(footer)


def ending(footer: Struct) -> bytes:
    """The end of a file: its footer, the footer's length, the magic."""
    encoded = thrift.encode(footer)
    return encoded + len(encoded).to_bytes(4, "little") + MAGIC


def _viewed_elements(column: Column) -> list[Struct]:
    top, *below = (_view_of(element)[0] for element in column.elements)
    name = Value(thrift.BINARY, str(column.first).encode())
    return [{**top, Element.NAME: name}, *below]


def _viewed_chunks(group: Struct, column: Column) -> list[Struct]:
    chunks = chunks_of(group)[column.first : column.first + column.leaves]
    return [{**chunk, Chunk.META: Value(STRUCT, _viewed_meta(meta_of(chunk)))} for chunk in chunks]


def _viewed_meta(meta: Struct) -> Struct:
    shown = {field: value for field, value in meta.items() if field != Meta.STATISTICS}
    if meta[Meta.TYPE].held == INT96:
        shown[Meta.TYPE] = Value(I32, _FIXED_TYPE)
    return dict(sorted(shown.items()))


def _is_group(element: Struct) -> bool:
    return Element.CHILDREN in element and Element.TYPE not in element


def _view_of(element: Struct) -> tuple[Struct, bool]:
    """An element as it is shown, and whether its values are ordered as the real ones are."""
    if _is_group(element):
        return dict(_shape_of(element)), True
    kind, converted, logical = _meaning(element)
    bare = {f: element[f] for f in sorted({1, 2, 3, 4} & set(element))}
    if kind == INT96:
        return {**_fixed(12), **{f: bare[f] for f in (3, 4) if f in bare}}, False
    if _is_unsigned(element, converted, logical) or logical == _LOGICAL_HALF:
        return element, True
    if converted == _DECIMAL or logical == _LOGICAL_DECIMAL:
        if _is_arrows_decimal(element):
            return element, True
        return bare, kind not in {_BYTES_TYPE, _FIXED_TYPE}
    return bare, converted != _INTERVAL and logical not in _WITHOUT_ORDER


def _fixed(length: int) -> Struct:
    return {Element.TYPE: Value(I32, _FIXED_TYPE), Element.LENGTH: Value(I32, length)}


def _meaning(element: Struct) -> tuple[int, int | None, int | None]:
    """The physical type, the converted and the logical type."""
    logical = next(iter(held(element, Element.LOGICAL, {})), None)
    return element[Element.TYPE].held, held(element, Element.CONVERTED), logical


def _is_unsigned(element: Struct, converted: int | None, logical: int | None) -> bool:
    if logical == _LOGICAL_INTEGER:
        integer = element[Element.LOGICAL].held[_LOGICAL_INTEGER].held
        return not held(integer, 2, True)
    return converted in _UNSIGNED


def _is_arrows_decimal(element: Struct) -> bool:
    """Whether Arrow writes decimals of this precision in just these bytes."""
    precision = held(element, Element.PRECISION, 0)
    if element[Element.TYPE].held != _FIXED_TYPE or not 1 <= precision <= 76:
        return False
    return bool(held(element, Element.LENGTH) == (10**precision - 1).bit_length() // 8 + 1)


def _shape_of(element: Struct) -> Iterator[tuple[int, Value]]:
    """What makes a group a list, a map or a record."""
    for field, value in element.items():
        if field == Element.CONVERTED:
            if value.held in _SHAPES:
                yield field, value
        elif field == Element.LOGICAL:
            if set(value.held) <= _LOGICAL_SHAPES:
                yield field, value
        elif field in {Element.REPETITION, Element.NAME, Element.CHILDREN}:
            yield field, value
