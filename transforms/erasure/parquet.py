"""Parquet files without the rows of subjects.

Of a file, the columns that may identify a subject are read first, row group by row group; a file
without a match costs no more than that. Then the file is put together anew: row groups without a
match are copied as the bytes they are, and of the others each column is read as it is stored,
filtered and encoded again. Columns that are small go together, for making a reader and a writer
costs as much as a small column does: memory holds a few MiB of a row group, or one column of it.

What a footer says is kept: the schema with field ids and logical types, key-value metadata of file
and columns, who wrote it, how rows are sorted. A column that is encoded again keeps its codec,
encoding, page version, and whether it has statistics, a page index, a bloom filter. Not kept are
what a reader does not see (the sizes of pages, the codec's level, Hadoop's framing of LZ4) and,
where Arrow cannot tell values' order, the least and the largest: of times in INT96, of intervals,
and of decimals in bytes of another length than Arrow's. A row group that is left empty disappears.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.fields import RecordType
from transforms.avro import Sink
from transforms.erasure import thrift
from transforms.erasure.matching import Matcher
from transforms.erasure.parquet_footer import (
    MAGIC,
    Chunk,
    Column,
    File,
    Group,
    Meta,
    NotParquet,
    chunks_of,
    columns_of,
    ending,
    extent_of,
    groups_of,
    held,
    meta_of,
    read_footer,
    read_metadata,
    structs,
    view,
)
from transforms.erasure.redaction import Redaction, holds_personal
from transforms.erasure.rewritten import Rewritten
from transforms.erasure.thrift import I64, STRUCT, Struct, Value
from transforms.subject_columns import subject_column_names

_BATCH_ROWS = 64 * 1024
_COPIED = 1024 * 1024
_REMEMBERED = 256

_AT_HAND = 4 * 1024 * 1024
"""Bytes of a file that is read at once: what is asked for after that costs nothing."""

_TOGETHER = 8 * 1024 * 1024
"""Bytes of columns, unpacked, that are encoded anew together."""

_FEW = 64
"""Rows of a row group that are left out without a copy of all the others."""

_CODECS = {0: "none", 1: "snappy", 2: "gzip", 4: "brotli", 5: "lz4", 6: "zstd", 7: "lz4"}
_BOOLEAN = 0
_PLAIN = 0
_DICTIONARY = frozenset({2, 8})
_ENCODINGS = {
    5: "DELTA_BINARY_PACKED",
    6: "DELTA_LENGTH_BYTE_ARRAY",
    7: "DELTA_BYTE_ARRAY",
    9: "BYTE_STREAM_SPLIT",
}
_SECOND_VERSION = 3
"""The type of a data page of the second version."""

_LEAST_AND_LARGEST = frozenset({1, 2, 5, 6, 7, 8})
"""Fields of ``Statistics``."""


def count_parquet(source: BinaryIO, record_type: RecordType, matcher: Matcher) -> Rewritten:
    """How many rows of a file are of the subjects; ``source`` can be read from anywhere.

    Raises ``NotParquet`` for what is none or is damaged, and ``SchemaError`` if a subject column
    cannot be read as text.
    """
    with reading():
        matches = matches_in(source, record_type, matcher)
    return Rewritten.of(matches, redacts=False)


def rewrite_parquet(
    source: BinaryIO,
    sink: Sink,
    record_type: RecordType,
    matcher: Matcher,
    redaction: Redaction | None = None,
) -> Rewritten:
    """Write a file anew without the subjects' rows, or with these redacted.

    Nothing is written if no row matches, or if none would remain. Raises as ``count_parquet`` does,
    and ``NotParquet`` also for an encrypted file, or one of a layout that Arrow cannot write.
    """
    with reading():
        source = _at_hand(source)
        matches = matches_in(source, record_type, matcher)
        told = Rewritten.of(matches, redacts=redaction is not None)
        if told.matched and told.rows_after:
            footer = read_footer(source)
            edit = _Deletion() if redaction is None else _Redaction(redaction, record_type)
            _Assembly(source, sink, footer, edit).run(matches)
    return told


@contextmanager
def reading() -> Iterator[None]:
    """Have ``NotParquet`` raised for what Arrow cannot read."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system, not of Arrow
        raise NotParquet("this Parquet file cannot be read: it is damaged, or is none") from error


def _at_hand(source: BinaryIO) -> BinaryIO:
    """The same file, in memory if it is a small one."""
    if source.seek(0, io.SEEK_END) > _AT_HAND:
        return source
    source.seek(0)
    return pa.BufferReader(source.read())


# --- Which rows -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Matched:
    """What matches in a row group of so many rows; ``mask`` is None if nothing does."""

    rows: int
    mask: Any | None

    @property
    def count(self) -> int:
        return 0 if self.mask is None else int(self.mask.true_count)


def matches_in(source: BinaryIO, record_type: RecordType, matcher: Matcher) -> list[Matched]:
    """What matches in each row group. Call within ``reading``."""
    # Left to itself, Arrow reads 64 KiB from the end, which is more than many a file has.
    file = pq.ParquetFile(source, metadata=read_metadata(source), pre_buffer=False)
    names = subject_column_names(record_type, file.schema_arrow)
    return [
        _matched_in(file, group, names, record_type, matcher)
        for group in range(file.num_row_groups)
    ]


def _matched_in(
    file: Any, group: int, names: list[str], record_type: RecordType, matcher: Matcher
) -> Matched:
    rows = file.metadata.row_group(group).num_rows
    if not names or not rows:
        return Matched(rows, None)
    batches = file.iter_batches(_BATCH_ROWS, [group], names, use_threads=False)
    mask = pa.concat_arrays([matcher.mask(record_type, batch) for batch in batches])
    return Matched(rows, mask if mask.true_count else None)


# --- What becomes of them ---------------------------------------------------------------------


class _Edit(Protocol):
    """What is done to the matched rows of a row group."""

    @property
    def keeps_order(self) -> bool: ...

    def concerns(self, column: Column, /) -> bool: ...

    def apply(self, columns: list[Column], values: Any, matched: Matched, /) -> Any: ...

    def rows_after(self, matched: Matched) -> int: ...


class _Deletion:
    keeps_order = True

    def concerns(self, _: Column) -> bool:
        return True

    def apply(self, _: list[Column], values: Any, matched: Matched) -> Any:
        if matched.count > _FEW:
            return values.filter(pc.invert(matched.mask))
        gone = np.flatnonzero(np.asarray(matched.mask))
        begins, ends = (0, *(gone + 1)), (*gone, matched.rows)
        kept = zip(begins, ends, strict=True)
        return pa.concat_tables([values.slice(begin, end - begin) for begin, end in kept])

    def rows_after(self, matched: Matched) -> int:
        return matched.rows - matched.count


class _Redaction:
    keeps_order = False

    def __init__(self, redaction: Redaction, record_type: RecordType) -> None:
        self._redaction = redaction
        self._personal = {
            field.name.lower(): field for field in record_type.fields if holds_personal(field)
        }

    def concerns(self, column: Column) -> bool:
        return column.name.lower() in self._personal

    def apply(self, columns: list[Column], values: Any, matched: Matched) -> Any:
        rows = np.asarray(matched.mask)
        redacted = [
            self._redacted(column, values.column(place), values.schema.field(place), rows)
            for place, column in enumerate(columns)
        ]
        return pa.table(redacted, schema=values.schema)

    def _redacted(self, column: Column, values: Any, shown: pa.Field, rows: Any) -> Any:
        field = self._personal[column.name.lower()]
        parts, start = [], 0
        for chunk in values.chunks:
            part = rows[start : start + len(chunk)]
            parts.append(self._redaction.column(field, chunk, part, shown.nullable))
            start += len(chunk)
        return pa.chunked_array(parts, shown.type)

    def rows_after(self, matched: Matched) -> int:
        return matched.rows


# --- The file put together --------------------------------------------------------------------


class _Assembly:
    """Writes a file from the chunks of another one, and from chunks that are encoded anew."""

    def __init__(self, source: BinaryIO, sink: Sink, footer: Struct, edit: _Edit) -> None:
        self._source = source
        self._sink = sink
        self._footer = footer
        self._columns = columns_of(footer)
        self._edit = edit
        self._place = 0
        self._indexes: list[_Indexes] = []

    def run(self, matches: list[Matched]) -> None:
        self._write(MAGIC)
        groups = [
            self._group(group, matched, ordinal)
            for ordinal, (group, matched) in enumerate(self._remaining(matches))
        ]
        for indexes in self._indexes:
            self._write_indexes(indexes)
        rows = sum(group[Group.ROWS].held for group in groups)
        footer = {**self._footer, File.ROWS: Value(I64, rows), File.GROUPS: structs(groups)}
        self._write(ending(footer))

    def _remaining(self, matches: list[Matched]) -> list[tuple[Struct, Matched]]:
        pairs = zip(groups_of(self._footer), matches, strict=True)
        return [(group, one) for group, one in pairs if self._edit.rows_after(one) or not one.count]

    def _group(self, group: Struct, matched: Matched, ordinal: int) -> Struct:
        chunks = [
            chunk
            for some in self._portions(group)
            for chunk in self._appended(group, some, matched)
        ]
        metas = [meta_of(chunk) for chunk in chunks]
        stated = {
            Group.BYTES: sum(meta[Meta.BYTES].held for meta in metas),
            Group.ROWS: self._edit.rows_after(matched),
            Group.OFFSET: extent_of(chunks[0])[0],
            Group.PACKED_BYTES: sum(meta[Meta.PACKED_BYTES].held for meta in metas),
            Group.ORDINAL: ordinal,
        }
        told = {**_with_numbers(group, stated), Group.CHUNKS: structs(chunks)}
        if matched.count and not self._edit.keeps_order:
            told.pop(Group.SORTED_BY, None)
        return told

    def _portions(self, group: Struct) -> Iterator[list[_Old]]:
        """The columns of a row group, in order, as many at a time as are dealt with alike."""
        some: list[_Old] = []
        size, chunks = 0, chunks_of(group)
        for column in self._columns:
            own = chunks[column.first : column.first + column.leaves]
            one = _Old.of(column, own, self._edit.concerns(column))
            if some and not (some[0].is_like(one) and size + one.size <= _TOGETHER):
                yield some
                some, size = [], 0
            some.append(one)
            size += one.size
        yield some

    def _appended(self, group: Struct, some: list[_Old], matched: Matched) -> list[Struct]:
        old = [chunk for one in some for chunk in one.chunks]
        if not matched.count or not some[0].is_concerned:
            return [self._append(self._source, chunk) for chunk in old]
        columns = [one.column for one in some]
        seen = view(self._footer, group, columns)
        file = pq.ParquetFile(self._source, metadata=seen, pre_buffer=False)
        values = self._edit.apply(columns, file.read(use_threads=False), matched)
        encoded = _encoded(values, some[0], old, seen)
        news = chunks_of(groups_of(read_footer(encoded))[0])
        ordered = [is_ordered for column in columns for is_ordered in column.ordered]
        return [
            self._append(encoded, _as_before(new, before, is_ordered))
            for new, before, is_ordered in zip(news, old, ordered, strict=True)
        ]

    def _append(self, source: BinaryIO, chunk: Struct) -> Struct:
        """Copy a chunk with its bloom filter; its indexes follow at the file's end."""
        begin, size = extent_of(chunk)
        moved = self._place - begin
        self._copy(source, begin, size)
        placed = _moved(chunk, moved)
        self._append_bloom(source, meta_of(placed))
        if Chunk.OFFSET_INDEX in chunk:
            self._indexes.append(_Indexes.of(source, chunk, placed, moved))
        return placed

    def _append_bloom(self, source: BinaryIO, meta: Struct) -> None:
        offset, size = held(meta, Meta.BLOOM), held(meta, Meta.BLOOM_BYTES)
        if offset is None or size is None:  # of one whose length is unknown nothing is kept
            meta.pop(Meta.BLOOM, None)
            return
        meta[Meta.BLOOM] = Value(I64, self._place)
        self._copy(source, offset, size)

    def _write_indexes(self, indexes: _Indexes) -> None:
        if indexes.of_values:
            indexes.chunk[Chunk.COLUMN_INDEX] = Value(I64, self._place)
            self._write(indexes.of_values)
        places = {
            Chunk.OFFSET_INDEX: self._place,
            Chunk.OFFSET_INDEX_BYTES: len(indexes.of_places),
        }
        indexes.chunk.update(_with_numbers(indexes.chunk, places))
        self._write(indexes.of_places)

    def _copy(self, source: BinaryIO, begin: int, size: int) -> None:
        source.seek(begin)
        while size:
            data = source.read(min(size, _COPIED))
            if not data:
                raise NotParquet("this Parquet file ends within a column: it is damaged")
            self._write(data)
            size -= len(data)

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        self._place += len(data)


@dataclass(frozen=True)
class _Indexes:
    """The page indexes of a chunk, to be written behind all chunks."""

    chunk: Struct
    of_values: bytes
    of_places: bytes

    @staticmethod
    def of(source: BinaryIO, old: Struct, placed: Struct, moved: int) -> _Indexes:
        index, _ = thrift.decode(_part(source, old, Chunk.OFFSET_INDEX))
        for page in index[1].held.items:
            page[1] = Value(I64, page[1].held + moved)
        of_values = _part(source, old, Chunk.COLUMN_INDEX) if Chunk.COLUMN_INDEX in old else b""
        return _Indexes(placed, of_values, thrift.encode(index))


def _part(source: BinaryIO, chunk: Struct, field: Chunk) -> bytes:
    source.seek(chunk[field].held)
    return source.read(chunk[field + 1].held)


def _with_numbers(struct: Struct, stated: dict[Any, int]) -> Struct:
    """The structure with other numbers in fields that it has."""
    known = {field: Value(struct[field].type, n) for field, n in stated.items() if field in struct}
    return {**struct, **known}


def _moved(chunk: Struct, by: int) -> Struct:
    """A chunk that lies so many bytes further on."""
    meta = meta_of(chunk)
    places = (Meta.DATA_PAGE, Meta.INDEX_PAGE, Meta.DICTIONARY_PAGE)
    # Where there is no such page, some write 0.
    moved = {field: meta[field].held + by for field in places if held(meta, field, 0) > 0}
    offset = chunk[Chunk.OFFSET].held
    placed = _with_numbers(chunk, {Chunk.OFFSET: offset + by if offset else 0})
    return {**placed, Chunk.META: Value(STRUCT, _with_numbers(meta, moved))}


# --- Columns encoded anew ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Old:
    """A column of a row group as it was: its chunks, and what one writer does alike for all."""

    column: Column
    chunks: list[Struct]
    is_concerned: bool
    is_indexed: bool
    has_second_version: bool

    @staticmethod
    def of(column: Column, chunks: list[Struct], is_concerned: bool) -> _Old:
        return _Old(
            column,
            chunks,
            is_concerned,
            any(Chunk.OFFSET_INDEX in chunk for chunk in chunks),
            any(_has_second_version(meta_of(chunk)) for chunk in chunks),
        )

    @property
    def size(self) -> int:
        """Bytes of its values, unpacked."""
        return sum(int(meta_of(chunk)[Meta.BYTES].held) for chunk in self.chunks)

    def is_like(self, other: _Old) -> bool:
        """Whether both can go through one writer."""
        return self._shared == other._shared

    @property
    def _shared(self) -> tuple[bool, bool, bool]:
        return self.is_concerned, self.is_indexed, self.has_second_version


def _encoded(values: Any, like: _Old, old: list[Struct], seen: Any) -> BinaryIO:
    """A Parquet file of some columns, encoded as their chunks were before."""
    out = pa.BufferOutputStream()
    with pq.ParquetWriter(
        out,
        values.schema,
        store_schema=False,
        write_page_index=like.is_indexed,
        data_page_version="2.0" if like.has_second_version else "1.0",
        **_options([meta_of(chunk) for chunk in old], _written_paths(values.schema)),
    ) as writer:
        writer.write_table(values, row_group_size=max(len(values), 1))
    encoded = pa.BufferReader(out.getvalue())
    _check_layout(pq.read_metadata(encoded), seen)
    return encoded


def _written_paths(schema: pa.Schema) -> list[str]:
    """How Arrow names columns' leaves, which need not be how others do."""
    return [path for field in schema for path in _paths_of(field)]


@lru_cache(_REMEMBERED)
def _paths_of(field: pa.Field) -> tuple[str, ...]:
    if not pa.types.is_nested(field.type):
        return (field.name,)
    out = pa.BufferOutputStream()
    pq.write_table(pa.schema([field]).empty_table(), out)
    found = pq.read_metadata(pa.BufferReader(out.getvalue())).schema
    return tuple(found.column(place).path for place in range(len(found)))


def _options(metas: list[Struct], paths: list[str]) -> dict[str, Any]:
    leaves = list(zip(paths, metas, strict=True))
    dictionaries = [path for path, meta in leaves if _DICTIONARY & _encodings(meta)]
    others = {path: name for path, meta in leaves if (name := _other_encoding(meta)) is not None}
    blooms = {path: {"ndv": _distinct(meta)} for path, meta in leaves if Meta.BLOOM in meta}
    return {
        "compression": {path: _CODECS[meta[Meta.CODEC].held] for path, meta in leaves},
        "use_dictionary": dictionaries,
        "column_encoding": others or None,
        "write_statistics": [path for path, meta in leaves if Meta.STATISTICS in meta],
        "bloom_filter_options": blooms or None,
    }


def _encodings(meta: Struct) -> set[int]:
    return set(meta[Meta.ENCODINGS].held.items)


def _other_encoding(meta: Struct) -> str | None:
    """The encoding of values that are in no dictionary, if it has to be asked for."""
    found = _encodings(meta)
    if found & _DICTIONARY:
        return None
    if meta[Meta.TYPE].held == _BOOLEAN and _PLAIN not in found:
        return "RLE"  # which is else the encoding of levels
    return next((_ENCODINGS[number] for number in sorted(found & _ENCODINGS.keys())), None)


def _distinct(meta: Struct) -> int:
    return max(1, int(meta[Meta.VALUES].held))


def _has_second_version(meta: Struct) -> bool:
    stats = held(meta, Meta.PAGE_ENCODINGS)
    return stats is not None and any(one[1].held == _SECOND_VERSION for one in stats.items)


def _check_layout(written: Any, seen: Any) -> None:
    """Whether Arrow has laid the column out as it was, so that the file's schema holds for it."""
    if written.num_row_groups != 1 or _layout(written.schema) != _layout(seen.schema):
        raise NotParquet("this Parquet file has a layout that cannot be written: rewrite it first")


def _layout(schema: Any) -> list[tuple[Any, ...]]:
    leaves = (schema.column(place) for place in range(len(schema)))
    return [
        (one.physical_type, one.length, one.max_definition_level, one.max_repetition_level)
        for one in leaves
    ]


def _as_before(new: Struct, before: Struct, ordered: bool) -> Struct:
    """A chunk of Arrow's as a chunk of the file's schema."""
    old = meta_of(before)
    meta = {**meta_of(new), Meta.TYPE: old[Meta.TYPE], Meta.PATH: old[Meta.PATH]}
    if Meta.KEY_VALUES in old:
        meta[Meta.KEY_VALUES] = old[Meta.KEY_VALUES]
    chunk = dict(new)
    if not ordered:
        chunk.pop(Chunk.COLUMN_INDEX, None)
        chunk.pop(Chunk.COLUMN_INDEX_BYTES, None)
        meta.update(_without_extremes(meta))
    return {**chunk, Chunk.META: Value(STRUCT, dict(sorted(meta.items())))}


def _without_extremes(meta: Struct) -> Struct:
    if Meta.STATISTICS not in meta:
        return {}
    stats = meta[Meta.STATISTICS].held
    kept = {field: value for field, value in stats.items() if field not in _LEAST_AND_LARGEST}
    return {Meta.STATISTICS: Value(STRUCT, kept)}
