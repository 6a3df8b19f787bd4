"""Panes: the rows of one portion that are delivered together, from the engine's state to a file.

Rows are left out for two reasons. Those that the log calls delivered are left out by where they
stood, for the engine may repeat anything. Repeats, changes that came into the stream twice, are
left out by their change id, but only if the row they repeat is delivered by the time they are: in
the same commit, or in one that the pane relies on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from schemas.arrow import arrow_schema
from schemas.changes import Position
from schemas.delivery import ERRORS, Counts, Partition
from schemas.errors import LakeError
from schemas.fields import RecordType
from schemas.stream_log import Portion, ShardState, Stretch, Stretches, by_source
from schemas.streams import rank
from stores.log import DataFile
from stores.stream_log import StagedPane
from transforms.cut import INDEX, SEQUENCE, RowPiece, delivered_rows
from transforms.partition import Piece
from transforms.suppress import SubjectSieve, SubjectWriter
from transforms.write import LakeWriter, write_partition

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class OpenPiece:
    """A piece whose rows are at hand; ``hashes`` are those of their change ids, 0 for none."""

    stretch: Stretch
    arrived: float
    rows: Any
    hashes: Hashes

    @staticmethod
    def of(piece: RowPiece) -> OpenPiece:
        rows = piece.open()
        return OpenPiece(piece.stretch, piece.arrived, rows, _hashes(rows))

    def keep(self, mask: npt.NDArray[np.bool_]) -> OpenPiece:
        if mask.all():
            return self
        return replace(self, rows=self.rows.filter(pa.array(mask)), hashes=self.hashes[mask])

    def places(self) -> list[int]:
        """The ranks of the rows' sequence numbers."""
        return [int(number) for number in self.rows.column(SEQUENCE).to_pylist()]


@dataclass(frozen=True)
class Pane:
    """Pieces of a portion, as they are to be delivered together.

    ``seen`` are the hashes of rows in ``before``, the stretches of earlier panes of the portion.
    Rows that arrived after ``late_from``, in epoch seconds, are counted as late.
    """

    portion: Portion
    pieces: tuple[OpenPiece, ...]
    seen: Hashes
    before: tuple[Stretch, ...] = ()
    late_from: float | None = None


@dataclass(frozen=True)
class _Sorted:
    """What becomes of the rows of a pane: those to be written, and how many are left out as
    repeats of rows of this pane, and of earlier ones."""

    pieces: list[OpenPiece]
    repeats: int
    repeats_of_earlier: int


def stage_pane(
    pane: Pane,
    states: Mapping[str, ShardState],
    lake: LakeWriter,
    now: datetime,
    sieve: SubjectSieve | None = None,
) -> StagedPane | None:
    """Stage what the log does not call delivered; None if that is nothing, not even a stretch.

    With a ``sieve`` rows and letters of suppressed subjects are left out, and files get an index.
    """
    left = _undelivered_stretches(pane, states)
    if not left:
        return None
    rows = _sort_out(pane, states, lake)
    staged = StagedPane(
        portion=pane.portion,
        stretches=left,
        files=(),
        counts=_counts(pane.portion, rows),
        staged_at=now,
        late=_late(pane, rows.pieces),
        relies=pane.before if rows.repeats_of_earlier else (),
    )
    if sieve is None:
        return replace(staged, files=_write(pane, rows.pieces, lake))
    return _with_subjects(staged, pane, rows, lake, sieve)


def _with_subjects(
    staged: StagedPane, pane: Pane, rows: _Sorted, lake: LakeWriter, sieve: SubjectSieve
) -> StagedPane:
    kept = replace(rows, pieces=_without_suppressed(pane, rows.pieces, sieve))
    counts = _counts(pane.portion, kept)
    counts.suppressed = _rows_in(rows.pieces) - _rows_in(kept.pieces)
    with SubjectWriter(sieve, lake.store, lake.run_id) as subjects:
        written = _write(pane, kept.pieces, lake, subjects)
        counts.add(subjects.counts)
        indexed = subjects.finish()
        files = indexed.described(written)
        return replace(staged, files=files, counts=counts, indexes=indexed.containers)


def _without_suppressed(
    pane: Pane, pieces: list[OpenPiece], sieve: SubjectSieve
) -> list[OpenPiece]:
    """Letters without those of suppressed subjects; rows are sifted where they are written."""
    if not pane.portion.is_letters:
        return pieces
    masks = [np.array([not sieve.is_letter(line) for line in _lines(one)]) for one in pieces]
    kept = [piece.keep(mask) for piece, mask in zip(pieces, masks, strict=True)]
    return [piece for piece in kept if len(piece.rows)]


def _rows_in(pieces: Iterable[OpenPiece]) -> int:
    return sum(len(piece.rows) for piece in pieces)


def _write(
    pane: Pane,
    pieces: Sequence[OpenPiece],
    lake: LakeWriter,
    subjects: SubjectWriter | None = None,
) -> tuple[DataFile, ...]:
    if not pieces:
        return ()
    found = _as_pieces(pane, pieces, lake)
    return tuple(write_partition(_partition(pane), found, lake, subjects))


def _undelivered_stretches(pane: Pane, states: Mapping[str, ShardState]) -> tuple[Stretch, ...]:
    return tuple(
        stretch
        for source, own in by_source(piece.stretch for piece in pane.pieces).items()
        for stretch in (own - states.get(source, ShardState()).of(pane.portion)).named(source)
    )


def _sort_out(pane: Pane, states: Mapping[str, ShardState], lake: LakeWriter) -> _Sorted:
    ordered = sorted(pane.pieces, key=lambda piece: (piece.stretch.source, _end(piece)))
    hashes = np.concatenate([piece.hashes for piece in ordered])
    gone = np.concatenate([*_delivered(ordered, pane.portion, states, lake)])
    earlier = np.isin(hashes, pane.seen) & ~gone & (hashes != 0)
    again = _again(hashes, gone | earlier)
    keep = np.split(~(gone | earlier | again), np.cumsum([len(p.hashes) for p in ordered])[:-1])
    kept = [piece.keep(mask) for piece, mask in zip(ordered, keep, strict=True)]
    return _Sorted(
        [piece for piece in kept if len(piece.rows)],
        int(np.count_nonzero(again)),
        int(np.count_nonzero(earlier)),
    )


def _again(hashes: Hashes, gone: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """For each row whether it repeats one before it, or one that is gone because it is delivered.

    Never true for rows that are gone themselves.
    """
    order = np.argsort(~gone, kind="stable")
    first = np.zeros(len(hashes), np.bool_)
    first[order[np.unique(hashes[order], return_index=True)[1]]] = True
    return ~(first | gone | (hashes == 0))


def _end(piece: OpenPiece) -> int:
    return rank(piece.stretch.last)


def _delivered(
    pieces: Iterable[OpenPiece],
    portion: Portion,
    states: Mapping[str, ShardState],
    lake: LakeWriter,
) -> Iterator[npt.NDArray[np.bool_]]:
    """For each row of each piece whether the log, or a piece before, delivers it."""
    covered: dict[str, Stretches] = {}
    for piece in pieces:
        source, places = piece.stretch.source, piece.places()
        known = covered.get(source, Stretches())
        mask = _in_log(piece, places, portion, states.get(source, ShardState()), lake)
        yield mask | np.array(known.holds(places), np.bool_)
        covered[source] = known | by_source([piece.stretch])[source]


def _in_log(
    piece: OpenPiece,
    places: Sequence[int],
    portion: Portion,
    state: ShardState,
    lake: LakeWriter,
) -> npt.NDArray[np.bool_]:
    if portion.is_letters:
        return np.array(state.of(portion).holds(places), np.bool_)
    return delivered_rows(piece.rows, lake.registry[portion.name], places, state)


def _hashes(rows: Any) -> Hashes:
    if "change_id" not in rows.schema.names:
        return np.zeros(len(rows), np.uint64)
    ids = rows.column("change_id").cast(pa.binary()).to_pylist()
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((0 if i is None else digest(i) for i in ids), np.uint64, len(ids))


def _partition(pane: Pane) -> Partition:
    portion = pane.portion
    if not portion.is_letters:
        return Partition(portion.name, portion.date, portion.window)
    arrived = min(piece.arrived for piece in pane.pieces)
    return Partition(ERRORS, datetime.fromtimestamp(arrived, UTC).date().isoformat())


def _as_pieces(pane: Pane, pieces: Iterable[OpenPiece], lake: LakeWriter) -> list[Piece]:
    if pane.portion.is_letters:
        return [_as_piece(piece, b"".join(_lines(piece))) for piece in pieces]
    record_type = lake.registry[pane.portion.name]
    return [_as_piece(piece, _lake_rows(piece, record_type)) for piece in pieces]


def _as_piece(piece: OpenPiece, content: Any) -> Piece:
    sequence, index = (piece.rows.column(name)[0].as_py() for name in (SEQUENCE, INDEX))
    return Piece(content, len(piece.rows), Position(piece.stretch.source, int(sequence), index))


def _lines(piece: OpenPiece) -> list[bytes]:
    return piece.rows.column("line").to_pylist()


def _lake_rows(piece: OpenPiece, record_type: RecordType) -> Any:
    rows, schema = piece.rows.drop_columns([SEQUENCE, INDEX]), arrow_schema(record_type)
    if not rows.schema.equals(schema):
        raise LakeError(
            f"{record_type.name}: these rows were gathered with another schema: start the delivery "
            "anew, without the engine's state: it goes on from the log"
        )
    return rows


def _counts(portion: Portion, rows: _Sorted) -> Counts:
    repeats = rows.repeats + rows.repeats_of_earlier
    counts = Counts(filtered=repeats, repeats=repeats)
    for piece in rows.pieces:
        number = len(piece.rows)
        if portion.is_letters:
            counts.dead_letters += number
            counts.by_error.update(piece.rows.column("code").to_pylist())
        else:
            counts.delivered += number
            counts.unidentified += int(np.count_nonzero(piece.hashes == 0))
            counts.by_type[portion.name] += number
            counts.by_date[portion.date] += number
    return counts


def _late(pane: Pane, pieces: Iterable[OpenPiece]) -> int:
    if pane.late_from is None:
        return 0
    return sum(len(piece.rows) for piece in pieces if piece.arrived > pane.late_from)
