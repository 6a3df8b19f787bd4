"""Rotate: pieces of a stream gathered by portion, until they are worth a file.

The rows of a portion rest in the engine's state and leave it as a pane:

- when the portion's window has ended, by the watermark, and ``SETTLING`` more has passed, in which
  what is on its way arrives;
- early, when enough rows or bytes have come together;
- when nothing more has come for a while, so that a quiet stream is delivered too;
- and what arrives after that, being late, after as long, together with what came meanwhile.

All is kept in the global window, because Beam drops what comes too late for any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from schemas.stream_log import Portion, Stretch, by_source
from transforms.cut import RowPiece
from transforms.panes import Hashes, OpenPiece, Pane
from transforms.state_coders import RowPieceCoder, StateCoder

SETTLING = 2
"""Seconds after its end in which a window is not delivered yet: rows take as long to arrive."""

REMEMBERED_ROWS = 4_000_000
"""Rows of a portion whose change ids are remembered, 8 bytes each, to tell repeats."""

_END_OF_TIME = GlobalWindow().max_timestamp()


@dataclass(frozen=True)
class Windowing:
    """When rows leave the engine's state.

    ``idle`` seconds without another piece, or as many for late ones; at ``rows``, or at ``size``
    bytes as held in memory. Rows that arrive more than ``lateness`` seconds after the end of their
    window are delivered like others, but counted as late, and repeats among them are not told.
    """

    idle: float = 30.0
    lateness: float = 3600.0
    rows: int = 500_000
    size: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Gathered:
    """What is in the state of a portion."""

    portion: Portion
    pieces: int = 0
    rows: int = 0
    size: int = 0

    def plus(self, piece: RowPiece) -> Gathered:
        rows, size = self.rows + piece.rows, self.size + piece.size
        return Gathered(self.portion, self.pieces + 1, rows, size)


@dataclass(frozen=True)
class Remembered:
    """The rows of a pane that has left: hashes of their change ids, as bytes, and stretches."""

    hashes: bytes
    stretches: tuple[Stretch, ...]


def end_of(portion: Portion) -> int | None:
    """When a portion's window ends, in epoch seconds; None for one without a window."""
    if portion.window is None or portion.length is None:
        return None
    return portion.window + portion.length


def is_late(piece: RowPiece) -> bool:
    """Whether a piece came when its window had been, or could have been, delivered.

    By when it arrived in the stream, not by when it is read: so whoever reads a backlog finds what
    whoever read it in time would have found. Dead letters have no window to wait for.
    """
    end = end_of(piece.portion)
    return end is None or piece.arrived >= end + SETTLING


_PIECES = beam.DoFn.StateParam(BagStateSpec("pieces", RowPieceCoder()))
_GATHERED = beam.DoFn.StateParam(ReadModifyWriteStateSpec("gathered", StateCoder(Gathered)))
_REMEMBERED = beam.DoFn.StateParam(BagStateSpec("remembered", StateCoder(Remembered)))
_END = TimerSpec("end", TimeDomain.WATERMARK)
_IDLE = TimerSpec("idle", TimeDomain.REAL_TIME)
_FORGET = TimerSpec("forget", TimeDomain.WATERMARK)
_SET_END = beam.DoFn.TimerParam(_END)
_SET_IDLE = beam.DoFn.TimerParam(_IDLE)
_SET_FORGET = beam.DoFn.TimerParam(_FORGET)


class Rotate(beam.DoFn):
    """Pieces keyed by portion to panes."""

    def __init__(self, windowing: Windowing) -> None:
        self._windowing = windowing

    def process(
        self,
        keyed: tuple[str, RowPiece],
        pieces: Any = _PIECES,
        gathered: Any = _GATHERED,
        remembered: Any = _REMEMBERED,
        end: Any = _SET_END,
        idle: Any = _SET_IDLE,
        forget: Any = _SET_FORGET,
    ) -> Iterator[Pane]:
        piece = keyed[1]
        now_there = (gathered.read() or Gathered(piece.portion)).plus(piece)
        pieces.add(piece)
        gathered.write(now_there)
        self._set_timers(piece, now_there, end, idle)
        if now_there.rows >= self._windowing.rows or now_there.size >= self._windowing.size:
            yield from self._flush(pieces, gathered, remembered, forget)

    def _set_timers(self, piece: RowPiece, there: Gathered, end: Any, idle: Any) -> None:
        closing = end_of(piece.portion)
        if closing is not None and not is_late(piece):
            end.set(Timestamp(closing + SETTLING))
            idle.set(Timestamp.now() + self._windowing.idle)
        elif there.pieces == 1:
            # An engine that stops for good fires the timers of event time alone.
            end.set(_END_OF_TIME)
            idle.set(Timestamp.now() + self._windowing.idle)

    @on_timer(_END)
    def at_end(
        self,
        pieces: Any = _PIECES,
        gathered: Any = _GATHERED,
        remembered: Any = _REMEMBERED,
        forget: Any = _SET_FORGET,
    ) -> Iterator[Pane]:
        yield from self._flush(pieces, gathered, remembered, forget)

    @on_timer(_IDLE)
    def when_idle(
        self,
        pieces: Any = _PIECES,
        gathered: Any = _GATHERED,
        remembered: Any = _REMEMBERED,
        forget: Any = _SET_FORGET,
    ) -> Iterator[Pane]:
        yield from self._flush(pieces, gathered, remembered, forget)

    @on_timer(_FORGET)
    def when_all_have_come(self, remembered: Any = _REMEMBERED) -> None:
        remembered.clear()

    def _flush(self, pieces: Any, gathered: Any, remembered: Any, forget: Any) -> Iterator[Pane]:
        there: Gathered | None = gathered.read()
        if there is None:
            return
        opened = tuple(map(OpenPiece.of, pieces.read()))
        pieces.clear()
        gathered.clear()
        end = end_of(there.portion)
        if end is None:
            yield Pane(there.portion, opened, np.zeros(0, np.uint64))
            return
        seen, before = _union(list(remembered.read()))
        if len(seen) < REMEMBERED_ROWS:
            remembered.add(_remembered(opened))
            forget.set(Timestamp(end + self._windowing.lateness))
        yield Pane(there.portion, opened, seen, before, end + self._windowing.lateness)


def _union(panes: list[Remembered]) -> tuple[Hashes, tuple[Stretch, ...]]:
    hashes = np.frombuffer(b"".join(pane.hashes for pane in panes), np.uint64)
    return hashes, _joined(stretch for pane in panes for stretch in pane.stretches)


def _remembered(pieces: tuple[OpenPiece, ...]) -> Remembered:
    hashes = np.concatenate([piece.hashes for piece in pieces])
    return Remembered(hashes.tobytes(), _joined(piece.stretch for piece in pieces))


def _joined(stretches: Iterator[Stretch]) -> tuple[Stretch, ...]:
    return tuple(
        stretch for source, own in by_source(stretches).items() for stretch in own.named(source)
    )
