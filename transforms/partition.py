"""Partition: scrubbed rows by type, date and window, spilled to disk in pieces.

Rows are gathered over many blocks before they are split, so that a piece is worth a write and
memory stays the same however many partitions are open: what is held is bounded in bytes, and a
flush sorts it by partition once. Only the pieces' addresses cross a shuffle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
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

HELD_BYTES = 64 * 1024 * 1024
"""Bytes of rows gathered before they are partitioned and spilled."""

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
class Piece:
    """Rows of one partition, where they lie: ``length`` bytes at ``offset`` of a spill file.

    ``first`` is the position of the first row, ``size`` the rows' size in memory, in bytes.
    """

    path: str
    offset: int
    length: int
    rows: int
    size: int
    first: Position


@dataclass
class _Held:
    """Rows of one type that wait for a flush; lists run in parallel, one entry a batch."""

    record_type: RecordType
    batches: list[Any] = field(default_factory=list)
    offsets: list[npt.NDArray[np.int64]] = field(default_factory=list)
    indexes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


@dataclass
class _HeldLines:
    """Dead letters that wait for a flush, and where the first block of theirs began."""

    first: Position
    lines: list[bytes] = field(default_factory=list)


class Spill:
    """Gathers batches and spills them by partition into files of ``folder``."""

    def __init__(self, folder: Path, partitioning: Partitioning, now: datetime) -> None:
        self._folder = folder
        self._partitioning = partitioning
        self._now = now
        self._held: dict[str, _Held] = {}
        self._letters: dict[str, _HeldLines] = {}
        self._size = 0
        self._schemas: dict[str, Any] = {}

    def add(self, batch: ChangeBatch) -> Counts:
        """Take a batch in, and say what it counts for."""
        counts = Counts(
            read=batch.read, filtered=batch.filtered, discarded_fields=batch.discarded_fields
        )
        for changes in batch.typed:
            self._hold(changes, batch)
            counts.delivered += len(changes)
            counts.by_type[changes.record_type.name] += len(changes)
        self._hold_rejects(batch, counts)
        return counts

    @property
    def is_full(self) -> bool:
        return self._size >= HELD_BYTES

    def flush(self, counts: Counts) -> Iterator[tuple[Partition, Piece]]:
        """Spill all that is held; dates are counted here, where they are known."""
        if not self._held and not self._letters:
            return
        path = self._folder / f"{os.getpid()}-{uuid4().hex}.spill"
        try:
            with path.open("wb") as sink:
                yield from self._spill_rows(sink, str(path), counts)
                yield from self._spill_letters(sink, str(path))
        except OSError as error:
            raise StoreFull(
                f"{self._folder}: cannot spill rows here: {error.strerror}: free some room or set "
                "another work folder"
            ) from error
        self._held.clear()
        self._letters.clear()
        self._size = 0

    def _hold(self, changes: TypedChanges, batch: ChangeBatch) -> None:
        rows = self._record_batch(changes)
        held = self._held.setdefault(changes.record_type.name, _Held(changes.record_type))
        held.batches.append(rows)
        held.offsets.append(batch.block.starts[changes.document])
        held.indexes.append(changes.index)
        held.sources.append(batch.block.source)
        self._size += rows.nbytes

    def _record_batch(self, changes: TypedChanges) -> Any:
        record_type = changes.record_type
        schema = self._schemas.get(record_type.name)
        if schema is None:
            schema = self._schemas[record_type.name] = arrow_schema(record_type)
        arrays = [changes.columns[field.name] for field in record_type.fields]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _hold_rejects(self, batch: ChangeBatch, counts: Counts) -> None:
        for line in batch.block.carried:
            self._hold_line(ERRORS, line, batch.block)
        for reject in batch.rejects:
            letter = dead_letter(reject, self._now)
            parked = reject.attempt >= MAX_ATTEMPTS
            self._hold_line(PARKED if parked else ERRORS, encode_dead_letter(letter), batch.block)
            counts.dead_letters += 1
            counts.parked += parked
            counts.by_error[letter.code] += 1

    def _hold_line(self, name: str, line: bytes, block: Block) -> None:
        first = Position(block.source, block.start, 0)
        self._letters.setdefault(name, _HeldLines(first)).lines.append(line)
        self._size += len(line)

    def _spill_rows(
        self, sink: Any, path: str, counts: Counts
    ) -> Iterator[tuple[Partition, Piece]]:
        for held in self._held.values():
            record_type = held.record_type
            rows = pa.concat_batches(held.batches)
            moments = rows.column(record_type.partition_field.name).cast(TIMESTAMP)
            keys = _partition_keys(moments, self._partitioning)
            order = keys.order()
            rows, keys = rows.take(order), keys.taken(order)
            for start, stop in keys.runs():
                partition = keys.partition(record_type.name, start)
                counts.by_date[partition.date] += stop - start
                first = _first_position(held, int(order[start]))
                run, offset = rows.slice(start, stop - start), sink.tell()
                length = sink.write(run.serialize())
                yield partition, Piece(path, offset, length, len(run), run.nbytes, first)

    def _spill_letters(self, sink: Any, path: str) -> Iterator[tuple[Partition, Piece]]:
        day = self._now.astimezone(UTC).date().isoformat()
        for name, held in self._letters.items():
            content, offset = b"".join(held.lines), sink.tell()
            sink.write(content)
            size, rows = len(content), len(held.lines)
            yield Partition(name, day), Piece(path, offset, size, rows, size, held.first)


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
class _Keys:
    """The partition of each row: its date in days, and its window's start, if there are windows."""

    days: npt.NDArray[np.int32]
    windows: npt.NDArray[np.int64] | None

    def order(self) -> npt.NDArray[np.int64]:
        """Rows sorted by partition, those of one partition in their old order."""
        if self.windows is None:
            return np.argsort(self.days, kind="stable")
        return np.lexsort((self.windows, self.days))

    def taken(self, order: npt.NDArray[np.int64]) -> _Keys:
        windows = None if self.windows is None else self.windows[order]
        return _Keys(self.days[order], windows)

    def runs(self) -> Iterator[tuple[int, int]]:
        """The stretches of equal partitions, once sorted."""
        changes = np.diff(self.days) != 0
        if self.windows is not None:
            changes |= np.diff(self.windows) != 0
        bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(self.days)]
        yield from pairwise(bounds)

    def partition(self, name: str, row: int) -> Partition:
        day = _EPOCH_DAY + timedelta(days=int(self.days[row]))
        window = None if self.windows is None else int(self.windows[row])
        return Partition(name, day.isoformat(), window)


def _partition_keys(moments: Any, partitioning: Partitioning) -> _Keys:
    days = partition_dates(moments, partitioning.timezone)
    if partitioning.window is None:
        return _Keys(days, None)
    seconds = moments.cast(pa.int64()).to_numpy(zero_copy_only=False) // _MICROS
    return _Keys(days, seconds - seconds % partitioning.window)


def _first_position(held: _Held, row: int) -> Position:
    for source, offsets, indexes in zip(held.sources, held.offsets, held.indexes, strict=True):
        if row < len(offsets):
            return Position(source, int(offsets[row]), int(indexes[row]))
        row -= len(offsets)
    raise IndexError(row)
