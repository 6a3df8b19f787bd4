"""Avro files without the rows of subjects.

A block without a match is copied as the bytes it is. Of each block only the columns that may
identify a subject are read, and the others passed over; of a block with matches the rows are cut
out of its bytes, and the rest is packed again by the file's codec. Header, metadata, schema and
sync marker stay; a block that is left empty disappears.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import LetheError
from schemas.fields import RecordType
from transforms.avro import Sink
from transforms.avro_container import (
    MAGIC,
    AvroBlock,
    AvroHeader,
    NotAvro,
    encoded_block,
    encoded_number,
    read_blocks,
    read_header,
)
from transforms.erasure.avro_codecs import packed, unpacked
from transforms.erasure.avro_rows import RowRedaction
from transforms.erasure.avro_schema import arrow_struct, bare_schema, picked
from transforms.erasure.avro_walk import Walk, compiled_walk, text_columns
from transforms.erasure.matching import Matcher
from transforms.erasure.redaction import Redaction
from transforms.erasure.rewritten import Rewritten
from transforms.subject_columns import subject_column_names

_SYNC = bytes(16)
_SCHEMAS = 64

Places = npt.NDArray[np.int64]

_NOWHERE: Places = np.zeros(0, np.int64)


def count_avro(source: BinaryIO, record_type: RecordType, matcher: Matcher) -> Rewritten:
    """How many rows of a file are of the subjects; ``source`` stands at its beginning.

    Raises ``NotAvro`` for what is none or is damaged, and ``SchemaError`` if a subject column
    cannot be read as text.
    """
    return Rewritten.of(matches_in(source, record_type, matcher), redacts=False)


def rewrite_avro(
    source: BinaryIO,
    sink: Sink,
    record_type: RecordType,
    matcher: Matcher,
    redaction: Redaction | None = None,
) -> Rewritten:
    """Write a file anew without the subjects' rows, or with these redacted.

    ``source`` is read twice. Nothing is written if no row matches, or if none would remain. Raises
    as ``count_avro`` does.
    """
    matches = matches_in(source, record_type, matcher)
    told = Rewritten.of(matches, redacts=redaction is not None)
    if told.matched and told.rows_after:
        source.seek(0)
        for data in _pieces(source, matches, record_type, redaction):
            sink.write(data)
    return told


# --- Which rows -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Matched:
    """What matches in a block of so many rows: where the bytes of each such row begin and end."""

    rows: int
    begins: Places
    ends: Places

    @property
    def count(self) -> int:
        return len(self.begins)


def matches_in(source: BinaryIO, record_type: RecordType, matcher: Matcher) -> list[Matched]:
    """What matches in each block of a file. Raises as ``count_avro`` does."""
    header = read_header(source)
    rows = SubjectRows.of(header, record_type)
    return [
        _matched_in(block, header.codec, rows, record_type, matcher)
        for block in read_blocks(source, header)
    ]


def _matched_in(
    block: AvroBlock, codec: str, rows: SubjectRows, record_type: RecordType, matcher: Matcher
) -> Matched:
    if not block.rows or not rows.names:
        return Matched(block.rows, _NOWHERE, _NOWHERE)
    batch, ends = rows.of_block(AvroBlock(block.rows, unpacked(block.data, codec)))
    matched = np.flatnonzero(matcher.mask(record_type, batch).to_numpy(zero_copy_only=False))
    begins = np.concatenate(([0], ends[:-1]))
    return Matched(block.rows, begins[matched], ends[matched])


@dataclass(frozen=True)
class SubjectRows:
    """Reads columns of a file's blocks, and tells where in these its rows end.

    ``texts`` are taken out by the walk alone. ``prefix`` begins a container of the other columns,
    for a reader to find a block behind it.
    """

    names: list[str]
    texts: list[str]
    prefix: bytes
    walk: Walk
    others: Any

    @staticmethod
    def of(header: AvroHeader, record_type: RecordType) -> SubjectRows:
        """For the columns that may identify a subject."""
        every = pa.schema([(name, pa.null()) for name in _column_names(header.schema)])
        return _subject_rows(header.schema, tuple(subject_column_names(record_type, every)))

    def of_block(self, block: AvroBlock) -> tuple[pa.RecordBatch, Places]:
        """The columns of an unpacked block, and where in it each row ends."""
        with _reading():
            ends, kept, texts = self.walk(block.data, block.rows)
            columns = [pa.array(column, pa.string()) for column in texts]
            columns += self._read(block.rows, b"".join(kept))
            others = [field.name for field in self.others]
            batch = pa.RecordBatch.from_arrays(columns, [*self.texts, *others])
        if ends[-1] != len(block.data):
            raise NotAvro("an Avro block does not end with its last row: the file is damaged")
        return batch, np.array(ends, np.int64)

    def _read(self, rows: int, data: bytes) -> list[Any]:
        """The columns that are no texts."""
        if not self.others.num_fields:
            return []
        found: list[Any] = pa.array(
            fastavro.reader(self._container(rows, data)), self.others, size=rows
        ).flatten()
        return found

    def _container(self, rows: int, data: bytes) -> BinaryIO:
        head = encoded_number(rows) + encoded_number(len(data))
        return io.BytesIO(b"".join((self.prefix, head, data, _SYNC)))


@lru_cache(_SCHEMAS)
def _column_names(schema: bytes) -> tuple[str, ...]:
    return tuple(field["name"] for field in bare_schema(schema)["fields"])


@lru_cache(_SCHEMAS)
def _subject_rows(encoded: bytes, names: tuple[str, ...]) -> SubjectRows:
    """Made once for files of the same schema, as those of a lake are."""
    schema = bare_schema(encoded)
    texts = text_columns(schema, names)
    others = picked(schema, set(names) - set(texts))
    walk = compiled_walk(schema, names, texts)
    return SubjectRows(list(names), texts, _prefix(others), walk, arrow_struct(others))


def _prefix(schema: dict[str, Any]) -> bytes:
    encoded = json.dumps(schema).encode()
    entry = encoded_number(11) + b"avro.schema" + encoded_number(len(encoded)) + encoded
    return b"".join((MAGIC, encoded_number(1), entry, b"\x00", _SYNC))


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except LetheError:
        raise
    except Exception as error:  # fastavro raises a family of unrelated classes
        raise NotAvro(
            f"an Avro block cannot be read ({type(error).__name__}): the file is damaged"
        ) from None


# --- The file put together --------------------------------------------------------------------


def _pieces(
    source: BinaryIO,
    matches: list[Matched],
    record_type: RecordType,
    redaction: Redaction | None,
) -> Iterator[bytes]:
    header = read_header(source)
    edit = _Edit.of(header, record_type, redaction)
    yield header.encoded
    for block, matched in zip(read_blocks(source, header), matches, strict=True):
        edited = edit.block(block, matched) if matched.count else block
        if edited.rows or not block.rows:
            yield encoded_block(edited, header)


@dataclass(frozen=True)
class _Edit:
    """Takes rows out of the blocks of one file, or redacts them."""

    codec: str
    redaction: RowRedaction | None

    @staticmethod
    def of(header: AvroHeader, record_type: RecordType, redaction: Redaction | None) -> _Edit:
        if redaction is None:
            return _Edit(header.codec, None)
        schema = bare_schema(header.schema)
        return _Edit(header.codec, RowRedaction(schema, record_type.fields, redaction))

    def block(self, block: AvroBlock, matched: Matched) -> AvroBlock:
        """The block with its matched rows taken out, or redacted."""
        content = unpacked(block.data, self.codec)
        edited = packed(b"".join(self._parts(content, matched)), self.codec)
        return AvroBlock(block.rows - (matched.count if self.redaction is None else 0), edited)

    def _parts(self, content: bytes, matched: Matched) -> Iterator[bytes]:
        """The stretches between matched rows, and what stands for these."""
        start = 0
        for begin, end in zip(matched.begins.tolist(), matched.ends.tolist(), strict=True):
            yield content[start:begin]
            if self.redaction is not None:
                yield self.redaction.row(content[begin:end])
            start = end
        yield content[start:]
