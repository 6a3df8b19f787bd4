"""A second look at the files of a lake, after an erasure: is a subject still there?

It shares nothing with the first: it asks no index, reads the fields that identify from the Avro
schema itself, takes rows of Avro apart in another way, and compares one value after another: in
plain while the subjects are at hand, later by exact hashes. It is never looser: what it finds, the
first look should have found.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.erasure import FileKind
from schemas.errors import InputError
from schemas.identities import normalised
from schemas.registry import Registry
from stores.lake_files import LakeFile
from transforms.decompress import detect_compression, pieces
from transforms.erasure.second_avro import AvroColumns, Column, OtherRows, avro_columns
from transforms.erasure.second_fields import Member, SubjectFields, any_values, innermost
from transforms.erasure.second_lines import json_parts, lines_of
from transforms.erasure.second_words import SoughtWords
from transforms.scrub import ScrubKey
from transforms.subject_hashes import SubjectHasher, stored_forms

_ROWS = 64 * 1024
_REMEMBERED = 64 * 1024
_MAGIC = 8
_SEPARATORS = re.compile(r"[\s\"'<>,;(){}\[\]\\|]+")


@dataclass(frozen=True)
class Seen:
    """What a second look saw in a file: ``found`` rows or lines of subjects.

    ``rows`` is None where a row is not told from a line.
    """

    path: str
    rows: int | None
    found: int


@dataclass(frozen=True)
class SecondLook:
    """Subjects as they are looked for once more. Travels without the key.

    ``exact`` are those of ``SubjectHasher.exact``, and ``stored`` what a field that is scrubbed by
    hash holds. ``kinds`` are the types that identities may have, ``forms`` those in which an
    identity may have been given beside the plain one. ``plain`` are the normalised values, if all
    are at hand: comparing them takes a fraction of the time that hashing does.
    """

    key: ScrubKey
    registry: Registry
    exact: frozenset[str]
    stored: frozenset[str]
    kinds: tuple[IdentityType, ...]
    forms: tuple[IdentityFormat, ...] = ()
    plus_addressing: bool = False
    plain: Mapping[IdentityType, frozenset[str]] | None = field(default=None, repr=False)

    @staticmethod
    def for_identities(
        key: ScrubKey,
        registry: Registry,
        identities: Iterable[Identity],
        plus_addressing: bool = False,
    ) -> SecondLook:
        """Raises ``UsageError`` if the key here is another one."""
        scrubber, found = key.scrubber(), list(identities)
        hasher = SubjectHasher(scrubber.key, plus_addressing)
        raw = [one for one in found if one.format is IdentityFormat.RAW]
        return SecondLook(
            key,
            registry,
            frozenset(map(hasher.exact, found)),
            frozenset(form for one in raw for form in stored_forms(one, scrubber, plus_addressing)),
            tuple(sorted({one.type for one in found})),
            tuple(sorted({one.format for one in found} - {IdentityFormat.RAW})),
            plus_addressing,
            _plain(raw, plus_addressing) if len(raw) == len(found) else None,
        )

    def open(self) -> SecondReader:
        """Raises ``UsageError`` if the key here is another one."""
        hasher = SubjectHasher.of(self.key, self.plus_addressing)
        words = SoughtWords(hasher, self.exact, self.stored, self.kinds, self.forms, self.plain)
        return SecondReader(self.registry, words)


@dataclass(frozen=True)
class SecondReader:
    """Looks through one file after another."""

    registry: Registry
    words: SoughtWords

    def look(self, file: LakeFile, stream: BinaryIO) -> Seen:
        """Look through a file that is open, from its beginning.

        Raises ``ObjectMissing`` or ``ObjectChanged`` if it is another file meanwhile.
        """
        magic = stream.read(_MAGIC)
        stream.seek(0)
        if magic.startswith(b"PAR1"):
            return self._parquet(file, stream)
        if magic.startswith(b"Obj\x01"):
            return self._avro(file, stream)
        if file.kind is FileKind.DEAD_LETTERS:
            return self._letters(file, stream)
        return self._contacts(file, stream)

    def _parquet(self, file: LakeFile, stream: BinaryIO) -> Seen:
        table, found = pq.ParquetFile(stream), 0
        fields = self._fields(file)
        names = table.schema_arrow.names
        wanted = names if fields is None else fields.columns_in(names)
        for group in range(table.num_row_groups):  # what was read of one is freed with its reader
            for batch in table.iter_batches(_ROWS, [group], wanted, use_threads=False):
                found += len(self._rows_in(batch, fields))
        return Seen(file.path, table.metadata.num_rows, found)

    def _avro(self, file: LakeFile, stream: BinaryIO) -> Seen:
        rows = found = 0
        look = _AvroLook(self.words, self._fields(file), stream)
        for block in look.blocks:
            rows += block.num_records
            found += look.found_in(block)
        return Seen(file.path, rows, found)

    def _letters(self, file: LakeFile, stream: BinaryIO) -> Seen:
        rows = found = 0
        for line in stream:
            rows += 1
            found += self._is_in_letter(line)
        return Seen(file.path, rows, found)

    def _contacts(self, file: LakeFile, stream: BinaryIO) -> Seen:
        compression = detect_compression(stream.read(_MAGIC))
        stream.seek(0)
        text = io.TextIOWrapper(
            io.BufferedReader(_Joined(pieces(stream, compression))), "utf-8-sig", "replace"
        )
        if ".csv" in PurePosixPath(file.path.lower()).suffixes:
            return Seen(file.path, None, sum(map(self._is_in_cells, lines_of(text))))
        return Seen(file.path, None, sum(map(self._is_in_line, json_parts(text))))

    def _fields(self, file: LakeFile) -> SubjectFields | None:
        """The fields that identify; None if every value may."""
        if file.kind is FileKind.DATA and file.type in self.registry:
            return SubjectFields(self.registry[str(file.type)].avro)
        return None

    def _rows_in(self, batch: pa.RecordBatch, fields: SubjectFields | None) -> set[int]:
        is_any, names = self.words.is_any, batch.schema.names
        if fields is None or fields.may_be_in_extra(names):
            values_in = any_values if fields is None else fields.values_in
            rows = enumerate(batch.to_pylist())
            return {row for row, record in rows if is_any(values_in(record))}
        found = set[int]()
        for kind, member in fields.flat:
            for column in _columns(batch, member.name):
                rows_of = self._rows_of(column, kind)
                found |= {row for row in rows_of if member.is_met(_row(batch, row, member))}
        if fields.nested:
            needed = [
                place for place, name in enumerate(names) if name.lower() in fields.nested_needs
            ]
            records = batch.select(needed).to_pylist()
            found |= _rows_of_each(self.words, map(fields.nested_values_in, records))
        return found

    def _rows_of(self, column: Any, kind: IdentityType) -> list[int]:
        values = _values(column)
        if pa.types.is_nested(column.type):
            return _rows_in_lists(self.words, kind, values)
        return self.words.rows_in(kind, values)

    def _is_in_letter(self, line: bytes) -> bool:
        letter = _document(line)
        if isinstance(letter, dict) and isinstance(letter.get("original"), str):
            is_text = letter.get("encoding") != "base64"
            return is_text and self._is_in_line(letter["original"])
        return self._is_in_line(line.decode("utf-8", "replace"))

    def _is_in_line(self, line: str) -> bool:
        document = _document(line)
        if document is None:
            return self._is_in_text(line)
        return self.words.is_any(any_values(document))

    def _is_in_text(self, text: str) -> bool:
        words = {word for word in _SEPARATORS.split(text) if word and not word.isdecimal()}
        return self.words.is_any((None, word) for word in words)

    def _is_in_cells(self, line: str) -> bool:
        try:
            cells = next(csv.reader([line]), [])
        except csv.Error:  # a cell may be longer than the parser takes
            cells = []
        values = ((None, cell) for cell in cells if not cell.strip().isdecimal())
        return self.words.is_any(values) or self._is_in_text(line)


class _AvroLook:
    """Looks through the blocks of a container: at the columns that matter, where these are plain,
    or else row by row."""

    def __init__(self, words: SoughtWords, fields: SubjectFields | None, stream: BinaryIO) -> None:
        self._words = words
        self._fields = fields
        self._judge = lru_cache(_REMEMBERED)(words.is_wanted)
        self.blocks = _blocks(stream)
        self._columns = None if fields is None else self._columns_of(fields)

    def found_in(self, block: Any) -> int:
        """How many rows of a block are the subjects'."""
        if self._fields is None or self._columns is None:
            return self._found_in_rows(block)
        if not self._columns.values:  # nobody can be in it
            return 0
        try:
            portions = self._columns.portions(block.bytes_.getvalue(), block.num_records)
            return sum(self._found_in_columns(self._fields, columns) for columns in portions)
        except OtherRows:
            return self._found_in_rows(block)

    def _columns_of(self, fields: SubjectFields) -> AvroColumns | None:
        """What takes out the columns; None if rows have to be read one by one."""
        schema = self.blocks.writer_schema
        members = schema.get("fields", []) if isinstance(schema, dict) else []
        if fields.may_be_in_extra(one["name"] for one in members):
            return None
        return avro_columns(self.blocks.metadata["avro.schema"], frozenset(fields.needs))

    def _found_in_columns(self, fields: SubjectFields, columns: list[Column]) -> int:
        found = set[int]()
        for kind, member in fields.flat:
            for column in columns:
                if column.name == member.name:
                    rows = self._rows_of(column, kind)
                    found |= {row for row in rows if member.is_met(_in_row(columns, row))}
        if fields.nested:
            needed = [one for one in columns if one.name in fields.nested_needs]
            records = (_in_row(needed, row) for row in range(len(columns[0].encoded)))
            found |= _rows_of_each(self._words, map(fields.nested_values_in, records))
        return len(found)

    def _rows_of(self, column: Column, kind: IdentityType) -> list[int]:
        if column.is_plain:
            return self._words.rows_in(kind, list(column))
        return _rows_in_lists(self._words, kind, list(column))

    def _found_in_rows(self, block: Any) -> int:
        values_in = any_values if self._fields is None else self._fields.values_in
        return sum(self._is_any(values_in(record)) for record in block)

    def _is_any(self, values: Iterable[tuple[IdentityType | None, Any]]) -> bool:
        return any(self._is_wanted(kind, value) for kind, value in values)

    def _is_wanted(self, kind: IdentityType | None, value: Any) -> bool:
        """As the words say; of text it is remembered."""
        return (
            self._judge(kind, value) if type(value) is str else self._words.is_wanted(kind, value)
        )


def _document(line: str | bytes) -> Any:
    """What a line of JSON says; None if it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _plain(
    identities: Iterable[Identity], plus_addressing: bool
) -> dict[IdentityType, frozenset[str]]:
    found: dict[IdentityType, set[str]] = defaultdict(set)
    for one in identities:
        found[one.type].add(normalised(one, plus_addressing))
    return {kind: frozenset(values) for kind, values in found.items()}


def _row(batch: pa.RecordBatch, row: int, member: Member) -> dict[str, Any]:
    """What stands in a row in the columns on which it depends whether a member identifies."""
    wanted = {name for name, *_ in member.when}
    names = [name.lower() for name in batch.schema.names]
    return {n: batch.column(place)[row].as_py() for place, n in enumerate(names) if n in wanted}


def _blocks(stream: BinaryIO) -> Any:
    try:
        return fastavro.block_reader(stream)
    except TypeError:  # what fastavro raises of a type in the place of a type's name
        raise InputError(
            "its schema cannot be read: it has a type in the place of a name"
        ) from None


def _in_row(columns: list[Column], row: int) -> dict[str, Any]:
    return {column.name: column[row] for column in columns}


def _rows_of_each(
    words: SoughtWords, rows: Iterable[Iterable[tuple[IdentityType, Any]]]
) -> set[int]:
    """The rows that hold an identity, of so many values each; those of a kind are looked at
    together."""
    found: dict[IdentityType, list[tuple[int, Any]]] = defaultdict(list)
    for row, values in enumerate(rows):
        for kind, value in values:
            found[kind].append((row, value))
    return {
        pairs[place][0]
        for kind, pairs in found.items()
        for place in words.rows_in(kind, [value for _, value in pairs])
    }


def _rows_in_lists(words: SoughtWords, kind: IdentityType, values: list[Any]) -> list[int]:
    """The rows of a column that hold an identity of this kind, in lists or alone."""
    each = (((kind, one) for one in innermost(value)) for value in values)
    return [row for row, of_row in enumerate(each) if words.is_any(of_row)]


def _values(column: Any) -> list[Any]:
    """The values of a column; of texts the bytes, if some are no UTF-8."""
    try:
        found: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        found = column.cast(kind).cast(pa.binary()).to_pylist()
    return found


def _columns(batch: pa.RecordBatch, name: str) -> Iterator[Any]:
    places = [place for place, one in enumerate(batch.schema.names) if one.lower() == name]
    return (batch.column(place) for place in places)


class _Joined(io.RawIOBase):
    """Pieces of bytes as a stream."""

    def __init__(self, found: Iterator[bytes]) -> None:
        self._found = found
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._found, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
