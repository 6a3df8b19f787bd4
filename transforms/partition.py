"""Partition: scrubbed rows by type, date and window, gathered in bounded memory.

Rows are held over many blocks before they are sorted by partition, so that a piece is worth while.
The pieces of a bundle stay in memory up to a limit; beyond it all of them are spilled to a local
file, and only their addresses are kept. So memory stays the same however much a bundle reads and
however many partitions are open, and a bundle that fits never touches the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import TIMESTAMP, arrow_schema
from schemas.changes import Block, ChangeBatch, Position, TypedChanges
from schemas.delivery import (
    ERRORS,
    MAX_ATTEMPTS,
    PARKED,
    Counts,
    Partition,
    dead_letter,
    encode_dead_letter,
)
from schemas.errors import StoreFull
from schemas.fields import RecordType

HELD_BYTES = 32 * 1024 * 1024
"""Bytes of rows gathered before they are sorted by partition."""

KEPT_BYTES = 192 * 1024 * 1024
"""Bytes of sorted rows kept in memory before they are spilled."""

_MICROS = 1_000_000
_EPOCH_DAY = date(1970, 1, 1)

_RULES_END = pa.scalar(datetime(2037, 1, 1, tzinfo=UTC), TIMESTAMP)
"""Arrow knows a zone's listed changes of clocks, which end in 2037, but not its standing rule."""


@dataclass(frozen=True)
class Partitioning:
    """How rows are told apart by time: the zone of their date, and a window length in seconds."""

    timezone: str = "UTC"
    window: int | None = None


@dataclass(frozen=True)
class Spilled:
    """Where a piece lies that is no longer in memory: ``length`` bytes at ``offset`` of a file."""

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


@dataclass(frozen=True)
class Piece:
    """Rows of one partition that were sorted out together, or lines of dead letters.

    ``content`` is a record batch or the lines' bytes; ``first`` the position of the first row.
    """

    content: Any
    rows: int
    first: Position

    def batch(self, record_type: RecordType) -> Any:
        """The rows of a piece, as an Arrow record batch."""
        if not isinstance(self.content, Spilled):
            return self.content
        return pa.ipc.read_record_batch(
            pa.py_buffer(self.content.read()), arrow_schema(record_type)
        )

    def lines(self) -> bytes:
        """The lines of a piece of dead letters."""
        return self.content.read() if isinstance(self.content, Spilled) else self.content


@dataclass
class _Held:
    """Rows of one type that wait to be sorted; lists run in parallel, one entry a batch."""

    record_type: RecordType
    batches: list[Any] = field(default_factory=list)
    offsets: list[Any] = field(default_factory=list)
    indexes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


class Gathering:
    """Gathers the batches of a bundle by partition; ``folder`` takes what memory does not."""

    def __init__(self, folder: Path, partitioning: Partitioning, now: datetime) -> None:
        self._folder = folder
        self._partitioning = partitioning
        self._now = now
        self._held: dict[str, _Held] = {}
        self._held_bytes = 0
        self._pieces: dict[Partition, list[Piece]] = {}
        self._kept_bytes = 0
        self._files: list[Path] = []
        self._schemas: dict[str, Any] = {}

    def add(self, batch: ChangeBatch) -> Counts:
        """Take a batch in, and say what it counts for, except for the dates of its rows."""
        counts = Counts(
            read=batch.read,
            filtered=batch.filtered,
            discarded_fields=batch.discarded_fields,
            repeats=batch.repeats,
            unidentified=batch.unidentified,
            suppressed=batch.suppressed,
        )
        for changes in batch.typed:
            self._hold(changes, batch)
            counts.delivered += len(changes)
            counts.by_type[changes.record_type.name] += len(changes)
        self._hold_rejects(batch, counts)
        if self._held_bytes >= HELD_BYTES:
            self._sort_held(counts)
        return counts

    def finish(self) -> tuple[dict[Partition, list[Piece]], Counts]:
        """All pieces by partition, and what was not counted yet. Nothing can be added after."""
        counts = Counts()
        self._sort_held(counts)
        return self._pieces, counts

    def clear(self) -> None:
        """Forget the pieces, and remove what was spilled."""
        self._pieces = {}
        for path in self._files:
            path.unlink(missing_ok=True)

    def _hold(self, changes: TypedChanges, batch: ChangeBatch) -> None:
        rows = self._record_batch(changes)
        held = self._held.setdefault(changes.record_type.name, _Held(changes.record_type))
        held.batches.append(rows)
        held.offsets.append(_offsets(batch.block, changes.document))
        held.indexes.append(changes.index)
        held.sources.append(batch.block.source)
        self._held_bytes += rows.nbytes

    def _record_batch(self, changes: TypedChanges) -> Any:
        record_type = changes.record_type
        schema = self._schemas.get(record_type.name)
        if schema is None:
            schema = self._schemas[record_type.name] = arrow_schema(record_type)
        arrays = [changes.columns[field.name] for field in record_type.fields]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _hold_rejects(self, batch: ChangeBatch, counts: Counts) -> None:
        lines: dict[str, list[bytes]] = {ERRORS: list(batch.block.carried), PARKED: []}
        for reject in batch.rejects:
            letter = dead_letter(reject, self._now)
            parked = reject.attempt >= MAX_ATTEMPTS
            lines[PARKED if parked else ERRORS].append(encode_dead_letter(letter))
            counts.dead_letters += 1
            counts.parked += parked
            counts.by_error[letter.code] += 1
        day = self._now.astimezone(UTC).date().isoformat()
        for name, found in lines.items():
            if found:
                piece = Piece(b"".join(found), len(found), _block_position(batch.block))
                self._keep(Partition(name, day), piece, len(piece.content))

    def _sort_held(self, counts: Counts) -> None:
        for held in self._held.values():
            self._sort(held, counts)
        self._held.clear()
        self._held_bytes = 0

    def _sort(self, held: _Held, counts: Counts) -> None:
        record_type = held.record_type
        rows = pa.concat_batches(held.batches)
        held.batches.clear()
        keys = partition_keys(rows, record_type, self._partitioning)
        order = keys.order()
        rows, keys = rows.take(order), keys.taken(order)
        for start, stop in keys.runs():
            partition = keys.partition(record_type.name, start)
            counts.by_date[partition.date] += stop - start
            first = _first_position(held, int(order[start]))
            run = rows.slice(start, stop - start)
            self._keep(partition, Piece(run, len(run), first), run.nbytes)

    def _keep(self, partition: Partition, piece: Piece, size: int) -> None:
        self._pieces.setdefault(partition, []).append(piece)
        self._kept_bytes += size
        if self._kept_bytes >= KEPT_BYTES:
            self._spill()

    def _spill(self) -> None:
        path = self._folder / f"{uuid4().hex}.spill"
        self._files.append(path)
        try:
            with path.open("wb") as sink:
                for pieces in self._pieces.values():
                    pieces[:] = [_spilled(piece, path, sink) for piece in pieces]
        except OSError as error:
            raise StoreFull(
                f"{self._folder}: cannot spill rows here: {error.strerror}: free some room or set "
                "another work folder"
            ) from error
        self._kept_bytes = 0


def _spilled(piece: Piece, path: Path, sink: Any) -> Piece:
    if isinstance(piece.content, Spilled):
        return piece
    content, offset = piece.content, sink.tell()
    length = sink.write(content if isinstance(content, bytes) else content.serialize())
    return replace(piece, content=Spilled(path, offset, length))


def _offsets(block: Block, documents: npt.NDArray[np.int32]) -> Any:
    """Where the documents stood in their source: byte offsets, or sequence numbers as objects."""
    if block.sequences is None:
        return block.starts[documents]
    return np.array(block.sequences, object)[documents]


def _block_position(block: Block) -> Position:
    return block.position(0, 0) if block.documents else Position(block.source, block.start, 0)


def partition_dates(moments: Any, timezone: str) -> npt.NDArray[np.int32]:
    """The date of each moment (Arrow timestamps, UTC) in ``timezone``, in days since the epoch."""
    if timezone == "UTC":
        return _days(moments)
    days = _days(pc.local_timestamp(moments.cast(pa.timestamp("us", tz=timezone))))
    late = pc.greater_equal(moments, _RULES_END).to_numpy(zero_copy_only=False)
    if late.any():
        days = days.copy()
        days[late] = [_local_day(moment, timezone) for moment in moments.filter(late).to_pylist()]
    return days


def _days(moments: Any) -> npt.NDArray[np.int32]:
    return moments.cast(pa.date32()).cast(pa.int32()).to_numpy(zero_copy_only=False)


def _local_day(moment: datetime, timezone: str) -> int:
    try:
        day = moment.astimezone(ZoneInfo(timezone)).date()
    except OverflowError:  # the last hours of 9999, east of Greenwich
        day = date.max
    return (day - _EPOCH_DAY).days


@dataclass(frozen=True)
class PartitionKeys:
    """The partition of each row: its date in days, and its window's start, if there are windows."""

    days: npt.NDArray[np.int32]
    windows: npt.NDArray[np.int64] | None

    def order(self) -> npt.NDArray[np.int64]:
        """Rows sorted by partition, those of one partition in their old order."""
        if self.windows is None:
            return np.argsort(self.days, kind="stable")
        return np.lexsort((self.windows, self.days))

    def taken(self, order: npt.NDArray[np.int64]) -> PartitionKeys:
        """The keys of the rows in another order."""
        windows = None if self.windows is None else self.windows[order]
        return PartitionKeys(self.days[order], windows)

    def runs(self) -> Iterator[tuple[int, int]]:
        """The stretches of equal partitions, once sorted."""
        changes = np.diff(self.days) != 0
        if self.windows is not None:
            changes |= np.diff(self.windows) != 0
        bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(self.days)]
        yield from pairwise(bounds)

    def partition(self, name: str, row: int) -> Partition:
        """The partition of a row of the type ``name``."""
        day = _EPOCH_DAY + timedelta(days=int(self.days[row]))
        window = None if self.windows is None else int(self.windows[row])
        return Partition(name, day.isoformat(), window)


def partition_keys(rows: Any, record_type: RecordType, partitioning: Partitioning) -> PartitionKeys:
    """The partitions of some rows of a type."""
    moments = rows.column(record_type.partition_field.name).cast(TIMESTAMP)
    days = partition_dates(moments, partitioning.timezone)
    if partitioning.window is None:
        return PartitionKeys(days, None)
    seconds = moments.cast(pa.int64()).to_numpy(zero_copy_only=False) // _MICROS
    return PartitionKeys(days, seconds - seconds % partitioning.window)


def _first_position(held: _Held, row: int) -> Position:
    for source, offsets, indexes in zip(held.sources, held.offsets, held.indexes, strict=True):
        if row < len(offsets):
            return Position(source, int(offsets[row]), int(indexes[row]))
        row -= len(offsets)
    raise IndexError(row)
