"""Files: one file of a lake, or of a folder of contacts, counted or rewritten for an erasure.

What a file is, is told by how it begins, and by its name: Parquet, Avro, dead letters, contacts.
"""

from __future__ import annotations

import csv
import hashlib
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import cramjam
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd
from fastavro.schema import SchemaParseException

from schemas.delivery import ERRORS, PARKED, Partition
from schemas.erasure import ErasedFile, ErasureMode, FileKind, FileMatch
from schemas.errors import AccessDenied, InputError, LetheError, SchemaError
from schemas.fields import RecordType
from stores.lake_files import LakeFile
from stores.log import DataFile
from stores.objects.port import ObjectStore, StagedObject
from stores.objects.seekable import open_seekable
from transforms.avro_container import read_header
from transforms.decompress import TruncatedStream
from transforms.erasure.anywhere import AnyColumnMatcher, type_of_any, type_of_any_avro
from transforms.erasure.avro import count_avro, rewrite_avro
from transforms.erasure.contacts import count_contacts, rewrite_contacts
from transforms.erasure.letters import count_letters, rewrite_letters
from transforms.erasure.matching import Matcher
from transforms.erasure.parquet import count_parquet, rewrite_parquet
from transforms.erasure.redaction import Redaction
from transforms.erasure.rewritten import Rewritten
from transforms.erasure.search import Search
from transforms.erasure.second_look import SecondReader, Seen
from transforms.erasure.text import TextSearch
from transforms.sink import Sink

_PIECE = 1 << 20
_MAGIC = 4
_ROWS_OF_TEXT = (".csv", ".ndjson", ".jsonl", ".json")
_PACKED = (".gz", ".zst", ".bz2")


@dataclass(frozen=True)
class Erased:
    """A file that was rewritten. ``file`` is staged to take its place; None if nothing remained."""

    erased: ErasedFile
    file: DataFile | None

    @property
    def path(self) -> str:
        return self.erased.path


@dataclass(frozen=True)
class Unread:
    """A file in which nobody could look, and why not."""

    path: str
    reason: str


class Unreadable(InputError):
    """A file, ``details["path"]``, is no such as an erasure looks into, it is damaged, or
    nobody lets us read it."""

    code = "unreadable_file"


@dataclass(frozen=True)
class _Kind:
    """How files of one kind are dealt with."""

    format: str
    count: Callable[[BinaryIO], Rewritten]
    rewrite: Callable[[BinaryIO, Sink], Rewritten]


def count_file(file: LakeFile, store: ObjectStore, search: Search) -> FileMatch:
    """How many rows of a file belong to the subjects.

    Raises ``Unreadable``; ``ObjectMissing`` or ``ObjectChanged`` if it is another one meanwhile.
    """
    with open_file(file, store) as stream:
        counted: Rewritten = guarded(
            file, lambda: _kind_of(file, stream, search, None).count(stream)
        )
    return FileMatch(
        file.path, file.kind, file.type, file.date, counted.rows_before, counted.matched
    )


def rewrite_file(
    file: LakeFile, store: ObjectStore, run_id: str, search: Search, mode: ErasureMode
) -> Erased | None:
    """Stage a file without what belongs to the subjects; None if that is nothing.

    Raises as ``count_file`` does.
    """
    writer = store.stage(file.path, run_id)
    try:
        with open_file(file, store) as stream:
            redaction = search.redaction if mode is ErasureMode.REDACT else None
            kind: _Kind = guarded(file, lambda: _kind_of(file, stream, search, redaction))
            done: Rewritten = guarded(file, lambda: kind.rewrite(stream, Sink(writer)))
        if not done.matched:
            writer.abort()
            return None
        before = _digest_before(file, store)
        if done.rows_after:
            return _replaced(file, kind, done, before, writer.close())
        writer.abort()
        return Erased(_erased_file(file, done, before, None), None)
    except BaseException:
        writer.abort()
        raise


def look_again(reader: SecondReader, file: LakeFile, store: ObjectStore) -> Seen:
    """What a second look sees in a file. Raises as ``count_file`` does."""
    with open_file(file, store) as stream:
        seen: Seen = guarded(file, lambda: reader.look(file, stream))
    return seen


def _replaced(
    file: LakeFile, kind: _Kind, done: Rewritten, before: str, staged: StagedObject
) -> Erased:
    described = _described(file, kind, staged)
    new = replace(described, rows=done.rows_after, staged=staged)
    return Erased(_erased_file(file, done, before, staged.sha256), new)


def _erased_file(file: LakeFile, done: Rewritten, before: str, after: str | None) -> ErasedFile:
    return ErasedFile(
        path=file.path,
        kind=file.kind,
        rows_before=done.rows_before,
        matched=done.matched,
        rows_after=done.rows_after,
        sha256_before=before,
        sha256_after=after,
        etag=file.info.etag,
        fingerprint=None if file.logged is None else file.logged.fingerprint,
    )


def _described(file: LakeFile, kind: _Kind, staged: StagedObject) -> DataFile:
    """What the log says of the file, or what can be said of one that it does not know."""
    if file.logged is not None:
        index = file.logged.index if file.is_as_logged else None
        return replace(file.logged, index=index)
    partition = Partition(file.type or _place_of(file), file.date or "")
    return DataFile(partition, kind.format, "", 0, None, None, None, staged)


def _place_of(file: LakeFile) -> str:
    if file.kind is not FileKind.DEAD_LETTERS:
        return file.kind.value
    return PARKED if file.path.startswith(f"{PARKED}/") else ERRORS


def _digest_before(file: LakeFile, store: ObjectStore) -> str:
    """The SHA-256 of what was read: as logged, or read once more for it."""
    if file.logged is not None and file.is_as_logged:
        return file.logged.staged.sha256
    digest = hashlib.sha256()
    with store.open(file.path, etag=file.info.etag) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def open_file(file: LakeFile, store: ObjectStore) -> BinaryIO:
    """The file, to be read in any order. Raises ``Unreadable`` if we may not read this one."""
    try:
        return open_seekable(store, file.info)
    except AccessDenied as error:
        raise _unreadable(file, error, f"{store.uri}/") from None


def guarded(file: LakeFile, work: Callable[[], Any]) -> Any:
    """As ``undamaged``, where a schema that cannot be looked through makes a file unreadable."""
    try:
        return undamaged(file, work)
    except SchemaError as error:
        raise _unreadable(file, error) from None


def undamaged(file: LakeFile, work: Callable[[], Any]) -> Any:
    """What ``work`` returns; that a file is damaged becomes an error that names it."""
    try:
        return work()
    except InputError as error:
        raise _unreadable(file, error) from None
    except _DAMAGES as error:
        # The library's own message may hold a value.
        raise _damaged(file, error) from None
    except OSError as error:
        if error.errno is not None or isinstance(error, TimeoutError | ConnectionError):
            raise  # of the file system or the network, not of Arrow
        raise _damaged(file, error) from None


def _unreadable(file: LakeFile, error: LetheError, folder: str = "") -> Unreadable:
    """What an error says of a file, which it may call by its name in this folder."""
    reason = error.message.removeprefix(f"{folder}{file.path}: ")
    return Unreadable(f"{file.path}: {reason}", path=file.path)


def _damaged(file: LakeFile, error: Exception) -> Unreadable:
    return Unreadable(f"{file.path}: is damaged: {type(error).__name__}", path=file.path)


_DAMAGES = (
    pa.ArrowException,
    SchemaParseException,
    EOFError,
    csv.Error,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zstd.ZstdError,
    cramjam.DecompressionError,
    TruncatedStream,
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
)
"""What readers raise of bytes that are not what they should be."""


def _kind_of(
    file: LakeFile, stream: BinaryIO, search: Search, redaction: Redaction | None
) -> _Kind:
    if file.kind is FileKind.DEAD_LETTERS:
        return _letters(search.text)
    magic = stream.read(_MAGIC)
    stream.seek(0)
    if magic == b"PAR1":
        where = looked_at(file, search, lambda: type_of_any(pq.read_schema(stream)))
        return _parquet(*where, redaction)
    if magic == b"Obj\x01":
        where = looked_at(file, search, lambda: _avro_type(stream))
        return _avro(*where, redaction)
    name = file.path.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    if name.endswith(_ROWS_OF_TEXT):
        return _contacts(file.path, search.text)
    raise InputError("is neither Parquet, Avro, CSV, NDJSON nor JSON")


def looked_at(
    file: LakeFile, search: Search, any_type: Callable[[], RecordType]
) -> tuple[RecordType, Matcher]:
    """Where subjects stand in a table: as its type says, or anywhere if nobody does."""
    if file.kind is FileKind.DATA and file.type in search.registry:
        return search.registry[str(file.type)], search.matcher
    return any_type(), AnyColumnMatcher(search.text)


def _parquet(record_type: RecordType, matcher: Matcher, redaction: Redaction | None) -> _Kind:
    return _Kind(
        "parquet",
        lambda stream: count_parquet(stream, record_type, matcher),
        lambda stream, sink: rewrite_parquet(stream, sink, record_type, matcher, redaction),
    )


def _avro(record_type: RecordType, matcher: Matcher, redaction: Redaction | None) -> _Kind:
    return _Kind(
        "avro",
        lambda stream: count_avro(stream, record_type, matcher),
        lambda stream, sink: rewrite_avro(stream, sink, record_type, matcher, redaction),
    )


def _avro_type(stream: BinaryIO) -> RecordType:
    found = type_of_any_avro(read_header(stream).schema)
    stream.seek(0)
    return found


def _letters(search: TextSearch) -> _Kind:
    return _Kind(
        "ndjson",
        lambda stream: count_letters(stream, search),
        lambda stream, sink: rewrite_letters(stream, sink, search),
    )


def _contacts(name: str, search: TextSearch) -> _Kind:
    return _Kind(
        "text",
        lambda stream: count_contacts(name, stream, search),
        lambda stream, sink: rewrite_contacts(name, stream, sink, search),
    )
