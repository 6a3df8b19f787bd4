"""Cut: a stream's batches into pieces, one a portion of the lake, and accounts of what was read.

A piece holds its rows itself, as an Arrow IPC stream with two more columns: where in its shard each
row stood. So a piece crosses any engine's shuffle and rests in its state, and whoever opens it can
leave out the rows that have been delivered meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.changes import Block, ChangeBatch, Reject, TypedChanges
from schemas.delivery import dead_letter, encode_dead_letter
from schemas.errors import UsageError
from schemas.fields import RecordType
from schemas.stream_ledger import BlockAccount
from schemas.stream_log import LETTERS, Portion, ShardState, Stretch, sequence
from schemas.streams import rank
from transforms.partition import Partitioning, partition_keys

SEQUENCE = "_sequence"
INDEX = "_index"

_POSITION = (pa.field(SEQUENCE, pa.string()), pa.field(INDEX, pa.int32()))
_LETTER = pa.schema([pa.field("line", pa.binary()), pa.field("code", pa.string()), *_POSITION])
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class RowPiece:
    """Rows that one block has for one portion, or dead letters: all there are in ``stretch``.

    ``arrived`` is when the block's last record came into the stream, in epoch seconds; ``size`` is
    that of the rows in memory, in bytes.
    """

    portion: Portion
    stretch: Stretch
    rows: int
    size: int
    arrived: float
    content: bytes

    def open(self) -> Any:
        """The rows as a record batch, with ``SEQUENCE`` and ``INDEX`` as their last columns."""
        with pa.ipc.open_stream(pa.py_buffer(self.content)) as reader:
            return reader.read_next_batch()


def cut(batch: ChangeBatch, partitioning: Partitioning) -> tuple[list[RowPiece], BlockAccount]:
    """The pieces of a batch, and the account of its block, which must be one of a stream."""
    block = batch.block
    assert block.stretch is not None
    pieces = [*_row_pieces(batch, partitioning), *_letter_pieces(batch)]
    portions = tuple(piece.portion for piece in pieces)
    return pieces, BlockAccount(
        block.stretch, tuple(dict.fromkeys(portions)), batch.filtered, batch.discarded_fields
    )


def _row_pieces(batch: ChangeBatch, partitioning: Partitioning) -> Iterator[RowPiece]:
    for changes in batch.typed:
        if not len(changes):
            continue
        rows = _with_positions(changes, batch.block)
        keys = partition_keys(rows, changes.record_type, partitioning)
        order = keys.order()
        rows, keys = rows.take(order), keys.taken(order)
        for start, stop in keys.runs():
            found = keys.partition(changes.record_type.name, start)
            portion = _portion(found.name, found.date, found.window, partitioning)
            yield _piece(portion, rows.slice(start, stop - start), batch.block)


def _portion(name: str, date: str, window: int | None, partitioning: Partitioning) -> Portion:
    return Portion(name, date, window, partitioning.window, partitioning.timezone)


def _with_positions(changes: TypedChanges, block: Block) -> Any:
    schema = arrow_schema(changes.record_type)
    assert block.sequences is not None
    sequences = np.array(block.sequences, object)[changes.document]
    arrays = [changes.columns[field.name] for field in changes.record_type.fields]
    arrays += [pa.array(sequences, pa.string()), pa.array(changes.index, pa.int32())]
    for field in _POSITION:
        schema = schema.append(field)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _letter_pieces(batch: ChangeBatch) -> Iterator[RowPiece]:
    if not batch.rejects:
        return
    rejects = sorted(batch.rejects, key=lambda reject: reject.origin)
    columns = [
        pa.array([_line(reject, batch.block) for reject in rejects], pa.binary()),
        pa.array([reject.fault.code.value for reject in rejects], pa.string()),
        pa.array([str(reject.origin.offset) for reject in rejects], pa.string()),
        pa.array([reject.origin.index for reject in rejects], pa.int32()),
    ]
    yield _piece(LETTERS, pa.RecordBatch.from_arrays(columns, schema=_LETTER), batch.block)


def _line(reject: Reject, block: Block) -> bytes:
    return encode_dead_letter(dead_letter(reject, _arrival(block)))


def _piece(portion: Portion, rows: Any, block: Block) -> RowPiece:
    stretch = block.stretch
    assert stretch is not None
    assert stretch.last is not None
    return RowPiece(
        portion,
        Stretch(stretch.source, stretch.after, stretch.last),
        len(rows),
        rows.nbytes,
        _arrival(block).timestamp(),
        _packed(rows),
    )


def _packed(rows: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def _arrival(block: Block) -> datetime:
    assert block.stretch is not None
    return (block.arrived or block.stretch.until).astimezone(UTC)


def check_windows(partitioning: Partitioning) -> None:
    """Raises ``UsageError`` unless rows are told apart by windows: a stream has no other end."""
    if partitioning.window is None:
        raise UsageError("a stream without end is delivered by windows: give --window a length")


def skip_delivered(block: Block, state: ShardState) -> Block:
    """The block without the documents up to ``state.through``; what it says of the shard stays."""
    stretch = block.stretch
    assert stretch is not None
    if rank(stretch.after) >= state.place:
        return block
    first = bisect_right([int(number) for number in block.sequences or ()], state.place)
    last = stretch.last if rank(stretch.last) > state.place else None
    return replace(
        block,
        documents=block.documents[first:],
        sequences=(block.sequences or ())[first:],
        start=int(block.starts[first]) if first < len(block.starts) else block.end,
        starts=block.starts[first:],
        stretch=replace(stretch, after=sequence(state.place), last=last),
    )


def drop_delivered(batch: ChangeBatch, states: Mapping[str, ShardState]) -> ChangeBatch:
    """The batch without the rows and rejects that a stream's commits have delivered already.

    For deliveries of another kind from a shard that a stream was delivered from before.
    """
    state = states.get(batch.block.source)
    if state is None or not batch.block.documents:
        return batch
    typed = tuple(_undelivered(changes, batch.block, state) for changes in batch.typed)
    rejected = state.of(LETTERS).holds([reject.origin.offset for reject in batch.rejects])
    rejects = tuple(r for r, gone in zip(batch.rejects, rejected, strict=True) if not gone)
    left = sum(map(len, typed)) + len(rejects)
    dropped = sum(map(len, batch.typed)) + len(batch.rejects) - left
    return replace(batch, typed=typed, rejects=rejects, read=batch.read - dropped)


def _undelivered(changes: TypedChanges, block: Block, state: ShardState) -> TypedChanges:
    assert block.sequences is not None
    places = [int(block.sequences[document]) for document in changes.document]
    field = changes.record_type.partition_field.name
    times = pa.RecordBatch.from_arrays([changes.columns[field]], [field])
    mask = delivered_rows(times, changes.record_type, places, state)
    return changes.keep(~mask) if mask.any() else changes


def delivered_rows(
    rows: Any, record_type: RecordType, places: Sequence[int], state: ShardState
) -> npt.NDArray[np.bool_]:
    """For each row whether it is delivered: ``places`` are the ranks of their sequence numbers.

    Rows that were told apart by other windows, or by the dates of another zone, are found too. Of
    ``rows`` only the column that gives the partition's date is looked at.
    """
    if not places or not state.reaches(min(places)):
        return np.zeros(len(places), np.bool_)
    mask = np.fromiter((place <= state.place for place in places), np.bool_, len(places))
    for timezone, length in state.cuts():
        mask |= _delivered_as(rows, record_type, places, state, Partitioning(timezone, length))
    return mask


def _delivered_as(
    rows: Any,
    record_type: RecordType,
    places: Sequence[int],
    state: ShardState,
    partitioning: Partitioning,
) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(places), np.bool_)
    keys = partition_keys(rows, record_type, partitioning)
    order = keys.order()
    keys = keys.taken(order)
    for start, stop in keys.runs():
        found = keys.partition(record_type.name, start)
        known = state.of(_portion(found.name, found.date, found.window, partitioning))
        members = order[start:stop]
        mask[members] = known.holds([places[row] for row in members])
    return mask
