"""Write: the pieces of a partition as staged files: Parquet, Avro, or lines of dead letters.

A file's name is derived from where its first row stood and from its schema, so a retry writes
the same name. Files rotate by rows and by bytes; the rows held are those of one row group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from schemas.arrow import TIMESTAMP, arrow_schema
from schemas.changes import Position
from schemas.delivery import Partition
from schemas.errors import UsageError
from schemas.fields import EnumKind, Field, RecordType, StringKind
from schemas.registry import Registry
from stores.log import DataFile
from stores.objects.port import ObjectStore, StagedWriter
from transforms.avro import AvroFileWriter
from transforms.partition import Piece
from transforms.sink import Sink
from transforms.suppress import Sifted, SubjectRules, SubjectWriter

ROW_GROUP_ROWS = 122_880
ROW_GROUP_BYTES = 64 * 1024 * 1024
_SMALLEST_GROUP_BYTES = 1024 * 1024


class FileFormat(StrEnum):
    PARQUET = "parquet"
    AVRO = "avro"


CODECS: dict[FileFormat, tuple[str, ...]] = {
    FileFormat.PARQUET: ("zstd", "snappy", "gzip", "none"),
    FileFormat.AVRO: ("zstandard", "snappy", "deflate", "null"),
}
"""Codecs by file format, each one's default first."""


@dataclass(frozen=True)
class Rotation:
    """When a file is full: at so many rows, or about so many bytes."""

    rows: int = 5_000_000
    size: int = 256 * 1024 * 1024


@dataclass(frozen=True)
class Output:
    """How data files are written."""

    format: FileFormat = FileFormat.PARQUET
    codec: str = "zstd"
    rotation: Rotation = Rotation()


@dataclass(frozen=True)
class LakeWriter:
    """What writing any partition of a lake takes."""

    store: ObjectStore
    registry: Registry
    output: Output
    run_id: str
    subjects: SubjectRules | None = None
    """What is done about subjects; None if their hashes are not gathered, and all rows pass."""


def choose_output(fmt: str, codec: str | None, rotation: Rotation) -> Output:
    """The output for a format and codec by name. Raises ``UsageError`` listing the choices."""
    try:
        file_format = FileFormat(fmt)
    except ValueError:
        raise UsageError(f"unknown format {fmt!r}: choose parquet or avro") from None
    codecs = CODECS[file_format]
    if codec is not None and codec not in codecs:
        raise UsageError(f"{fmt} has no codec {codec!r}: choose one of {', '.join(codecs)}")
    return Output(file_format, codec or codecs[0], rotation)


def write_partition(
    partition: Partition,
    pieces: Iterable[Piece],
    lake: LakeWriter,
    subjects: SubjectWriter | None = None,
) -> Iterator[DataFile]:
    """Stage the files of a partition, its rows in source order, and describe each.

    With ``subjects`` rows of those suppressed are left out, and it gathers the index of each file
    of data.
    """
    ordered = sorted(pieces, key=lambda piece: piece.first)
    if partition.is_errors:
        yield _write_letters(partition, ordered, lake)
        return
    record_type = lake.registry[partition.name]
    writer = _RotatingWriter(partition, ordered[0].first, record_type, lake, subjects)
    try:
        for piece in ordered:
            yield from writer.add(piece.batch(record_type))
        yield from writer.finish()
    except BaseException:
        writer.abort()
        raise


def file_name(first: Position, fingerprint: str, sequence: int, extension: str) -> str:
    """The name of the file that begins with the row at ``first``; tells nothing of its source."""
    source = xxhash.xxh3_64_hexdigest(first.source.encode())
    return (
        f"{source}-{first.offset:012d}-{first.index:04d}"
        f"-{fingerprint[:8]}-{sequence:03d}.{extension}"
    )


class _Encoder(Protocol):
    """Writes rows in one file format."""

    def write(self, rows: Any) -> None: ...

    def close(self) -> None: ...


class _ParquetEncoder:
    def __init__(self, sink: Sink, record_type: RecordType, codec: str) -> None:
        self._writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            arrow_schema(record_type),
            compression=codec,
            use_dictionary=_repetitive_columns(record_type),
            write_statistics=True,
            store_schema=True,
        )

    def write(self, rows: Any) -> None:
        self._writer.write_table(_without_hidden_nulls(rows), row_group_size=len(rows))

    def close(self) -> None:
        self._writer.close()


def _without_hidden_nulls(rows: Any) -> Any:
    """The rows without the nulls of required members that lie below a null record.

    In Arrow a null record's members may be anything; Parquet's writer takes such nulls for faults.
    """
    columns = [
        pa.chunked_array([_without_hidden(chunk) for chunk in column.chunks], column.type)
        if pa.types.is_nested(column.type)
        else column
        for column in rows.columns
    ]
    return pa.Table.from_arrays(columns, schema=rows.schema)


def _without_hidden(array: Any) -> Any:
    kind = array.type
    if pa.types.is_struct(kind):
        members = [_member(array, place) for place in range(kind.num_fields)]
        return pa.StructArray.from_arrays(members, fields=list(kind), mask=array.is_null())
    if pa.types.is_list(kind):
        return _with_child(array, _without_hidden(array.values))
    if pa.types.is_map(kind):
        entries = [array.keys, _without_hidden(array.items)]
        fields = [kind.key_field, kind.item_field]
        return _with_child(array, pa.StructArray.from_arrays(entries, fields=fields))
    return array


def _member(record: Any, place: int) -> Any:
    """A record's member; left as it is if it is null in a record that is not."""
    member = _without_hidden(record.field(place))
    if (
        record.type.field(place).nullable
        or not member.null_count
        or pa.types.is_nested(member.type)
    ):
        return member
    if pc.any(pc.and_(member.is_null(), record.is_valid())).as_py():
        return member
    content = [None, *member.buffers()[1:]]
    return pa.Array.from_buffers(member.type, len(member), content, offset=member.offset)


def _with_child(array: Any, child: Any) -> Any:
    own = array.buffers()[:2]
    return pa.Array.from_buffers(array.type, len(array), own, offset=array.offset, children=[child])


class _AvroEncoder:
    def __init__(self, sink: Sink, record_type: RecordType, codec: str, name: str) -> None:
        metadata = {"lethe.fingerprint": record_type.fingerprint, "lethe.file": name}
        self._writer = AvroFileWriter(sink, record_type, codec, metadata)

    def write(self, rows: Any) -> None:
        for batch in rows.combine_chunks().to_batches():
            self._writer.write(batch)

    def close(self) -> None:
        self._writer.close()


class _Group:
    """The rows of a row group to be. Their bytes are counted once: asking Arrow takes its time."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.rows = 0
        self.size = 0

    def add(self, rows: Any, size: int) -> None:
        self.batches.append(rows)
        self.rows += len(rows)
        self.size += size


class _RotatingWriter:
    """Writes a partition's rows into one file after another, each held to the rotation's limits."""

    def __init__(
        self,
        partition: Partition,
        first: Position,
        record_type: RecordType,
        lake: LakeWriter,
        subjects: SubjectWriter | None,
    ) -> None:
        self._subjects = subjects
        self._partition = partition
        self._first = first
        self._record_type = record_type
        self._lake = lake
        self._output = lake.output
        self._sequence = 0
        self._held = _Group()
        self._open: _OpenFile | None = None

    def add(self, rows: Any) -> Iterator[DataFile]:
        limit = self._output.rotation.rows
        while len(rows):
            written = self._open.rows if self._open is not None else 0
            size = rows.nbytes
            taken = rows.slice(0, min(limit - written - self._held.rows, self._room(rows, size)))
            self._held.add(taken, size * len(taken) // len(rows))
            rows = rows.slice(len(taken))
            if self._is_group_full() or written + self._held.rows >= limit:
                yield from self._write_group()

    def finish(self) -> Iterator[DataFile]:
        if self._held.rows:
            yield from self._write_group()
        if self._open is not None:
            yield self._close()

    def abort(self) -> None:
        if self._open is not None:
            self._open.staged.abort()

    @property
    def _group_bytes(self) -> int:
        """Bytes of a full row group, as held in memory; fewer where files are to be smaller."""
        return min(ROW_GROUP_BYTES, max(self._output.rotation.size, _SMALLEST_GROUP_BYTES))

    def _room(self, rows: Any, size: int) -> int:
        """How many of some rows of so many bytes the row group has room for; at least one."""
        free = self._group_bytes - self._held.size
        by_bytes = max(free * len(rows) // max(size, 1), 1)
        return min(by_bytes, ROW_GROUP_ROWS - self._held.rows)

    def _is_group_full(self) -> bool:
        return self._held.rows >= ROW_GROUP_ROWS or self._held.size >= self._group_bytes

    def _write_group(self) -> Iterator[DataFile]:
        sifted = self._sifted(pa.Table.from_batches(self._held.batches))
        self._held = _Group()
        if not len(sifted.rows):
            return
        if self._open is None:
            self._open = self._open_file()
        self._open.add(sifted.rows)
        if self._subjects is not None:
            self._subjects.gather(sifted.hashes)
        rotation = self._output.rotation
        if self._open.rows >= rotation.rows or self._open.sink.size >= rotation.size:
            yield self._close()

    def _sifted(self, rows: pa.Table) -> Sifted:
        if self._subjects is None:
            return Sifted(rows, ())
        return self._subjects.sift(self._partition, self._record_type, rows)

    def _open_file(self) -> _OpenFile:
        fingerprint = self._record_type.fingerprint
        name = file_name(self._first, fingerprint, self._sequence, self._output.format)
        self._sequence += 1
        key = f"{self._partition.folder}/{name}"
        staged = self._lake.store.stage(key, self._lake.run_id)
        if self._subjects is not None:
            self._subjects.begin(key, self._record_type)
        return _OpenFile(staged, self._record_type, self._output, name)

    def _close(self) -> DataFile:
        opened, self._open = self._open, None
        assert opened is not None
        opened.encoder.close()
        if self._subjects is not None:
            self._subjects.end()
        return DataFile(
            partition=self._partition,
            format=self._output.format,
            codec=self._output.codec,
            rows=opened.rows,
            earliest=opened.earliest,
            latest=opened.latest,
            fingerprint=self._record_type.fingerprint,
            staged=opened.staged.close(),
        )


class _OpenFile:
    """A file being written."""

    def __init__(
        self,
        staged: StagedWriter,
        record_type: RecordType,
        output: Output,
        name: str,
    ) -> None:
        self.staged = staged
        self.sink = Sink(staged)
        self.rows = 0
        self.earliest: int | None = None
        self.latest: int | None = None
        self._time = record_type.partition_field.name
        self.encoder: _Encoder
        if output.format is FileFormat.PARQUET:
            self.encoder = _ParquetEncoder(self.sink, record_type, output.codec)
        else:
            self.encoder = _AvroEncoder(self.sink, record_type, output.codec, name)

    def add(self, rows: Any) -> None:
        self.encoder.write(rows)
        self.rows += len(rows)
        earliest, latest = _span(rows.column(self._time))
        self.earliest = earliest if self.earliest is None else min(self.earliest, earliest)
        self.latest = latest if self.latest is None else max(self.latest, latest)


def _span(times: Any) -> tuple[int, int]:
    """The first and last of a column of times or dates, in microseconds since the epoch."""
    span = pc.min_max(times.cast(TIMESTAMP).cast(pa.int64())).as_py()
    return span["min"], span["max"]


def _repetitive_columns(record_type: RecordType) -> list[str]:
    """Columns worth a dictionary: texts that are not different in nearly every row."""
    return [field.name for field in record_type.fields if _is_repetitive(field)]


def _is_repetitive(field: Field) -> bool:
    if not isinstance(field.kind, StringKind | EnumKind):
        return False
    names_something = field.name in {"reference", "extra"} or field.name.split("_")[-1] == "id"
    return not (names_something or field.subject or field.pii)


def _write_letters(partition: Partition, pieces: list[Piece], lake: LakeWriter) -> DataFile:
    """Dead letters as they are: they were gathered as the lines of the file."""
    # The same record may be rejected again by a later run, which then writes a file of its own.
    run = xxhash.xxh3_64_hexdigest(lake.run_id.encode())
    name = file_name(pieces[0].first, run, 0, "ndjson")
    staged = lake.store.stage(f"{partition.folder}/{name}", lake.run_id)
    try:
        for piece in pieces:
            staged.write(piece.lines())
        return DataFile(
            partition=partition,
            format="ndjson",
            codec="none",
            rows=sum(piece.rows for piece in pieces),
            earliest=None,
            latest=None,
            fingerprint=None,
            staged=staged.close(),
        )
    except BaseException:
        staged.abort()
        raise
