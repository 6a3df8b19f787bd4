"""Gather: the rows of one file that belong to a subject.

They are the very rows that an erasure would take (``transforms.erasure``): of Parquet row groups
and Avro blocks without a match only the columns are read that identify, and of the others the rows
that match. Memory holds a batch, or a block.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import fastavro
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.delivery import decode_dead_letter
from schemas.dsr import IdentityType
from schemas.erasure import FileKind
from schemas.errors import InputError
from schemas.fields import RecordType
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore
from transforms.avro_container import AvroBlock, read_blocks, read_header
from transforms.erasure import avro, parquet
from transforms.erasure.anywhere import type_of_any, type_of_any_avro
from transforms.erasure.avro_codecs import unpacked
from transforms.erasure.files import guarded, looked_at, open_file
from transforms.erasure.letters import is_letter_of
from transforms.erasure.matching import Matcher
from transforms.erasure.search import Search
from transforms.export.values import plain, rows_of
from transforms.subject_columns import subject_columns
from transforms.subject_hashes import SubjectHasher

_BATCH_ROWS = 4096
_LETTERS = 1000
_MAGIC = 4

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Identified:
    """Whom some rows identify, as exact hashes, and the same of emails without their tags."""

    subjects: frozenset[str] = frozenset()
    untagged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Gathered:
    """Some rows of a subject, as JSON can say them, and whom they identify."""

    rows: Sequence[Row]
    identified: Identified = Identified()


@dataclass(frozen=True)
class Gatherer:
    """Gathers rows from files. ``key``, the lake's, makes hashes of those whom rows identify."""

    search: Search
    key: bytes = field(repr=False)

    def rows_in(self, file: LakeFile, store: ObjectStore) -> Iterator[Gathered]:
        """The subject's rows in a file, some at a time.

        Raises ``Unreadable``; ``ObjectMissing`` or ``ObjectChanged`` if it is another one
        meanwhile.
        """
        with open_file(file, store) as stream:
            found = self._of(file, stream)
            while (some := guarded(file, lambda: next(found, None))) is not None:
                yield some

    def _of(self, file: LakeFile, stream: BinaryIO) -> Iterator[Gathered]:
        if file.kind is FileKind.DEAD_LETTERS:
            yield from self._letters(stream)
            return
        magic = stream.read(_MAGIC)
        stream.seek(0)
        if magic == b"PAR1":
            yield from self._parquet(file, stream)
        elif magic == b"Obj\x01":
            yield from self._avro(file, stream)
        else:
            raise InputError("is neither Parquet nor Avro")

    def _letters(self, stream: BinaryIO) -> Iterator[Gathered]:
        rows: list[Row] = []
        for line in stream:
            if is_letter_of(line, self.search.text):
                rows.append(_letter(line))
            if len(rows) == _LETTERS:
                yield Gathered(rows)
                rows = []
        if rows:
            yield Gathered(rows)

    def _parquet(self, file: LakeFile, stream: BinaryIO) -> Iterator[Gathered]:
        with parquet.reading():
            found = pq.ParquetFile(stream, pre_buffer=False)
            record_type, matcher = looked_at(
                file, self.search, lambda: type_of_any(found.schema_arrow)
            )
            for group, matched in enumerate(parquet.matches_in(stream, record_type, matcher)):
                if matched.mask is not None:
                    for batch in _batches(found, group, matched.mask):
                        yield Gathered(rows_of(batch), self._identified(record_type, batch))

    def _avro(self, file: LakeFile, stream: BinaryIO) -> Iterator[Gathered]:
        header = read_header(stream)
        stream.seek(0)
        schema = fastavro.parse_schema(json.loads(header.schema))
        record_type, matcher = looked_at(file, self.search, lambda: type_of_any_avro(header.schema))
        identifying = avro.SubjectRows.of(header, record_type)
        for content, extents in _matched_rows(stream, record_type, matcher):
            rows = [_avro_row(content[begin:end], schema) for begin, end in extents]
            encoded = b"".join(content[begin:end] for begin, end in extents)
            batch, _ = identifying.of_block(AvroBlock(len(rows), encoded))
            yield Gathered(rows, self._identified(record_type, batch))

    def _identified(self, record_type: RecordType, batch: pa.RecordBatch) -> Identified:
        """Whom rows identify; where no type says which columns do, those that hold an address."""
        columns = [
            (self._telling(column.values.unique().drop_null(), record_type), column.type)
            for column in subject_columns(record_type, batch)
        ]
        plain_hasher, untagging = SubjectHasher(self.key), SubjectHasher(self.key, True)
        return Identified(_hashes(columns, plain_hasher), _hashes(columns, untagging))

    def _telling(self, values: Any, record_type: RecordType) -> Any:
        if record_type.name in self.search.registry:
            return values
        return values.filter(pc.match_substring(values, "@"))


def _hashes(columns: list[tuple[Any, IdentityType]], hasher: SubjectHasher) -> frozenset[str]:
    found = (hasher.exact_values(values, kind) for values, kind in columns)
    return frozenset(hash_ for hashes in found for hash_ in hashes)


def _batches(file: Any, group: int, mask: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a row group that a mask names, a batch of the group's at a time."""
    start = 0
    for batch in file.iter_batches(_BATCH_ROWS, [group], use_threads=False):
        some = batch.filter(mask.slice(start, batch.num_rows))
        start += batch.num_rows
        if some.num_rows:
            yield some


def _matched_rows(
    stream: BinaryIO, record_type: RecordType, matcher: Matcher
) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
    """Blocks with matches, unpacked, and where in each the rows that match begin and end."""
    matches = avro.matches_in(stream, record_type, matcher)
    stream.seek(0)
    header = read_header(stream)
    for block, matched in zip(read_blocks(stream, header), matches, strict=True):
        if matched.count:
            extents = zip(matched.begins.tolist(), matched.ends.tolist(), strict=True)
            yield unpacked(block.data, header.codec), list(extents)


def _avro_row(encoded: bytes, schema: Any) -> Row:
    row: Row = plain(fastavro.schemaless_reader(io.BytesIO(encoded), schema))
    return row


def _letter(line: bytes) -> Row:
    """A dead letter as it stands, or a line that is none."""
    try:
        letter: Row = msgspec.to_builtins(decode_dead_letter(line))
    except msgspec.MsgspecError:
        return {"original": line.decode("utf-8", "replace").rstrip("\n")}
    return letter
