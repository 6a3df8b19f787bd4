"""A second look at the files of a lake, after an erasure: is a subject still there?

It shares nothing with the first: it asks no index, reads the fields that identify from the Avro
schema itself, and compares one value after another: in plain while the subjects are at hand, later
by exact hashes. It is slow, and never looser: what it finds, the first look should have found.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.erasure import FileKind
from schemas.identities import digest_of, normalised, normalised_value
from schemas.registry import Registry
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore
from stores.objects.seekable import open_seekable
from transforms.decompress import detect_compression, pieces
from transforms.scrub import ScrubKey
from transforms.subject_hashes import SubjectHasher

_ROWS = 64 * 1024
_REMEMBERED = 64 * 1024
_REQUESTABLE = frozenset(IdentityType)
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
            frozenset(scrubber.hash(one.value) for one in raw),
            tuple(sorted({one.type for one in found})),
            tuple(sorted({one.format for one in found} - {IdentityFormat.RAW})),
            plus_addressing,
            _plain(raw, plus_addressing) if len(raw) == len(found) else None,
        )

    def open(self) -> SecondReader:
        """Raises ``UsageError`` if the key here is another one."""
        return SecondReader(self, SubjectHasher.of(self.key, self.plus_addressing))


@dataclass(frozen=True)
class SecondReader:
    """Looks through one file after another."""

    sought: SecondLook
    hasher: SubjectHasher

    def look(self, file: LakeFile, store: ObjectStore) -> Seen:
        """Raises ``ObjectMissing`` or ``ObjectChanged`` if it is another file meanwhile."""
        with open_seekable(store, file.info) as stream:
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
        table, rows, found = pq.ParquetFile(stream), 0, 0
        fields = self._fields(file)
        names = table.schema_arrow.names
        wanted = names if fields is None else [one for one in names if one.lower() in fields.needs]
        for batch in table.iter_batches(_ROWS, columns=wanted, use_threads=False):
            found += len(self._rows_in(batch, fields))
        rows = table.metadata.num_rows
        return Seen(file.path, rows, found)

    def _avro(self, file: LakeFile, stream: BinaryIO) -> Seen:
        rows = found = 0
        fields = self._fields(file)
        judge = lru_cache(_REMEMBERED)(self._is_wanted)
        for record in _avro_records(stream, fields):
            rows += 1
            values = _any_values(record) if fields is None else fields.values_in(record)
            found += any(_judged(judge, kind, value) for kind, value in values)
        return Seen(file.path, rows, found)

    def _letters(self, file: LakeFile, stream: BinaryIO) -> Seen:
        rows = found = 0
        for line in stream:
            rows += 1
            found += self._is_in_line(line)
        return Seen(file.path, rows, found)

    def _contacts(self, file: LakeFile, stream: BinaryIO) -> Seen:
        compression = detect_compression(stream.read(_MAGIC))
        stream.seek(0)
        text = io.TextIOWrapper(
            io.BufferedReader(_Joined(pieces(stream, compression))), "utf-8-sig", "replace"
        )
        if ".csv" in PurePosixPath(file.path.lower()).suffixes:
            return Seen(file.path, None, sum(map(self._is_in_cells, text)))
        return Seen(file.path, None, sum(self._is_in_line(line.encode()) for line in text))

    def _fields(self, file: LakeFile) -> _Fields | None:
        """The fields that identify; None if every value may."""
        if file.kind is FileKind.DATA and file.type in self.sought.registry:
            return _Fields(self.sought.registry[str(file.type)].avro)
        return None

    def _rows_in(self, batch: pa.RecordBatch, fields: _Fields | None) -> set[int]:
        if fields is None:
            rows = enumerate(batch.to_pylist())
            return {row for row, record in rows if self._is_any(_any_values(record))}
        found = set[int]()
        for member in fields.flat:
            for column in _columns(batch, member["name"].lower()):
                rows_of = self._rows_of(column, IdentityType(member["subject"]))
                found |= {row for row in rows_of if _is_met(member, _row(batch, row, member))}
        if fields.nested:
            names = enumerate(batch.schema.names)
            needed = [place for place, name in names if name.lower() in fields.nested_needs]
            records = enumerate(batch.select(needed).to_pylist())
            found |= {row for row, one in records if self._is_any(_values(fields.nested, one))}
        return found

    def _rows_of(self, column: Any, kind: IdentityType) -> set[int]:
        encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        words = _words(encoded.dictionary)
        hits = self._places_of(kind, words)
        if not hits:
            return set()
        return {row for row, place in enumerate(encoded.indices.to_pylist()) if place in hits}

    def _places_of(self, kind: IdentityType, words: list[Any]) -> set[int]:
        """Where wanted words are: of plain texts, as nearly all are, all are hashed at one go."""
        sought = self.sought
        if sought.forms or kind not in sought.kinds or any(type(word) is not str for word in words):
            return {place for place, word in enumerate(words) if self._is_wanted(kind, word)}
        if sought.plain is not None:
            return {
                place
                for place, word in enumerate(words)
                if self._is_plainly(kind, word) or word in sought.stored
            }
        pairs = enumerate(zip(words, self.hasher.exact_each(words, kind), strict=True))
        return {
            place
            for place, (word, exact) in pairs
            if exact in sought.exact or word in sought.stored
        }

    def _is_in_line(self, line: bytes) -> bool:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return self._is_in_text(line.decode("utf-8", "replace"))
        if isinstance(document, dict) and isinstance(document.get("original"), str):
            if document.get("encoding") == "base64":
                return False  # its content is no text
            return self._is_in_line(document["original"].encode("utf-8", "surrogatepass"))
        return self._is_any(_any_values(document))

    def _is_in_text(self, text: str) -> bool:
        words = {word for word in _SEPARATORS.split(text) if word and not word.isdecimal()}
        return any(self._is_wanted(kind, word) for word in words for kind in self.sought.kinds)

    def _is_in_cells(self, line: str) -> bool:
        try:
            cells = next(csv.reader([line]), [])
        except csv.Error:  # a cell may be longer than the parser takes
            cells = []
        values = ((None, cell) for cell in cells if not cell.strip().isdecimal())
        return self._is_any(values) or self._is_in_text(line)

    def _is_any(self, values: Iterable[tuple[IdentityType | None, Any]]) -> bool:
        return any(self._is_wanted(kind, value) for kind, value in values)

    def _is_wanted(self, kind: IdentityType | None, value: Any) -> bool:
        if value is None or isinstance(value, bool):
            return False
        text = _written(value)
        kinds = self.sought.kinds if kind is None else (kind,)
        return text in self.sought.stored or any(self._is_exactly(one, text) for one in kinds)

    def _is_exactly(self, kind: IdentityType, text: str) -> bool:
        if kind not in self.sought.kinds:
            return False
        if self.sought.plain is not None:
            return self._is_plainly(kind, text)
        identities = [Identity(kind, text), *self._digests(kind, text)]
        return any(self.hasher.exact(one) in self.sought.exact for one in identities)

    def _is_plainly(self, kind: IdentityType, text: str) -> bool:
        wanted = (self.sought.plain or {}).get(kind, frozenset())
        return normalised_value(text, kind, self.sought.plus_addressing) in wanted

    def _digests(self, kind: IdentityType, text: str) -> Iterator[Identity]:
        for form in self.sought.forms:
            plain = normalised(Identity(kind, text))
            yield Identity(kind, digest_of(plain, form), form)


def _plain(
    identities: Iterable[Identity], plus_addressing: bool
) -> dict[IdentityType, frozenset[str]]:
    found: dict[IdentityType, set[str]] = defaultdict(set)
    for one in identities:
        found[one.type].add(normalised(one, plus_addressing))
    return {kind: frozenset(values) for kind, values in found.items()}


def _avro_records(stream: BinaryIO, fields: _Fields | None) -> Iterator[Any]:
    """The rows of a container; where the fields that matter are plain, without all others."""
    reader = fastavro.reader(stream)
    schema = reader.writer_schema
    if fields is None or fields.nested or not isinstance(schema, dict):
        return reader
    needed = [one for one in schema["fields"] if one["name"].lower() in fields.needs]
    if not all(_is_plain(one["type"]) for one in needed):
        return reader
    stream.seek(0)
    return fastavro.reader(stream, reader_schema={**schema, "fields": needed})


def _is_plain(kind: Any) -> bool:
    """Whether a type is text, or none; such are read alike whatever stands beside them."""
    if isinstance(kind, list):
        return all(map(_is_plain, kind))
    return isinstance(kind, str) and kind in {"string", "null"}


def _judged(judge: Any, kind: IdentityType | None, value: Any) -> bool:
    """As ``judge`` says; of text it is remembered."""
    return bool(judge(kind, value) if type(value) is str else judge.__wrapped__(kind, value))


class _Fields:
    """The fields of a type that identify subjects, as its Avro schema says."""

    def __init__(self, avro: Mapping[str, Any]) -> None:
        self._found = found = [one for one in avro["fields"] if _leads_to_subject(one)]
        self.flat = [member for member in found if not _is_nested(member["type"])]
        self.nested = [member for member in found if _is_nested(member["type"])]
        self.needs = _needs(found)
        self.nested_needs = _needs(self.nested)

    def values_in(self, record: Mapping[str, Any]) -> Iterator[tuple[IdentityType, Any]]:
        """The values of a record that identify subjects."""
        yield from _values(self._found, record)


def _needs(members: list[Mapping[str, Any]]) -> set[str]:
    """The columns that members are in, and those that decide whether they identify."""
    conditions = chain.from_iterable(one.get("subjectWhen", {}) for one in members)
    return {name.lower() for name in (*(one["name"] for one in members), *conditions)}


def _values(
    members: Iterable[Mapping[str, Any]], record: Mapping[str, Any]
) -> Iterator[tuple[IdentityType, Any]]:
    by_name = _lowered(record)
    for member in members:
        value = by_name.get(member["name"].lower())
        if value is None:
            continue
        if isinstance(value, dict) and _is_map(member["type"]):
            value = list(value.values())
        if _is_subject(member) and _is_met(member, by_name):
            yield from ((IdentityType(member["subject"]), one) for one in _innermost(value))
        below = _members_below(member["type"])
        if below:
            for one in _innermost(value):
                if isinstance(one, dict):
                    yield from _values(below, one)


def _is_subject(member: Mapping[str, Any]) -> bool:
    return member.get("subject") in _REQUESTABLE


def _is_met(member: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    return all(
        name.lower() not in beside or str(beside[name.lower()]) == wanted
        for name, wanted in member.get("subjectWhen", {}).items()
    )


def _leads_to_subject(member: Mapping[str, Any]) -> bool:
    return _is_subject(member) or any(map(_leads_to_subject, _members_below(member["type"])))


def _members_below(kind: Any) -> list[Any]:
    """The members of the record that a type is, or is made of."""
    if isinstance(kind, list):
        return [member for branch in kind for member in _members_below(branch)]
    if not isinstance(kind, dict):
        return []
    inner = kind.get("fields") or kind.get("items") or kind.get("values") or kind.get("type")
    if kind.get("type") == "record":
        return list(kind["fields"])
    return _members_below(inner) if isinstance(inner, dict | list) else []


def _is_nested(kind: Any) -> bool:
    if isinstance(kind, list):
        return any(map(_is_nested, kind))
    return isinstance(kind, dict) and kind.get("type") in {"record", "array", "map"}


def _is_map(kind: Any) -> bool:
    if isinstance(kind, list):
        return any(map(_is_map, kind))
    return isinstance(kind, dict) and kind.get("type") == "map"


def _lowered(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in record.items()}


def _row(batch: pa.RecordBatch, row: int, member: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in a row in the columns on which it depends whether a member identifies."""
    wanted = {name.lower() for name in member.get("subjectWhen", {})}
    names = [name.lower() for name in batch.schema.names]
    return {n: batch.column(place)[row].as_py() for place, n in enumerate(names) if n in wanted}


def _innermost(value: Any) -> Iterator[Any]:
    """The values of lists, and of Arrow's maps, which are lists of pairs."""
    if isinstance(value, list):
        for one in value:
            yield from _innermost(one[1] if isinstance(one, tuple) else one)
    elif value is not None:
        yield value


def _any_values(document: Any, name: str = "") -> Iterator[tuple[None, Any]]:
    """All texts of a document, at any depth; numbers only under a name that ends in ``id``."""
    match document:
        case dict():
            for key, value in document.items():
                yield from _any_values(key)
                yield from _any_values(value, name if key in _TAGS else key)
        case list():
            for value in document:
                # Of Arrow's maps a list of pairs is left.
                yield from _any_values(value[1] if isinstance(value, tuple) else value, name)
        case None | bool():
            return
        case _ if name.lower().endswith("id") or not _is_number(document):
            yield None, document


_TAGS = frozenset({"S", "N", "B", "SS", "NS", "BS", "M", "L"})
"""DynamoDB's types, which stand where a member's name would."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) or _written(value).strip().isdecimal()


def _written(value: Any) -> str:
    """A value as an identity is written: a whole number without a fraction."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | Decimal) and value == value // 1:
        return str(int(value))
    return str(value)


def _words(texts: Any) -> list[Any]:
    """The texts, or their bytes if some are no UTF-8."""
    try:
        found: list[Any] = texts.to_pylist()
    except UnicodeDecodeError:
        found = texts.cast(pa.binary()).to_pylist()
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
