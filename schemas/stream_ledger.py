"""What a delivery has read of a stream and not yet delivered: a ledger a shard.

The delivery log says what is delivered (``schemas.stream_log``); a ledger is the other half, which
the engine keeps: what has been read, and where rows of which portion were found. ``through`` moves
on to the last mark before which nothing that was found is missing in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas.stream_log import Portion, ShardState, Stretches, reached_place
from schemas.streams import ShardRange, rank

MARK_EVERY = timedelta(seconds=10)
"""How far apart, by arrival, the places are at which ``through`` may stop; bounds a ledger."""


@dataclass(frozen=True)
class BlockAccount:
    """What became of a stretch: where its rows went, and what was left out on purpose.

    ``stretch`` may hold no record. ``portions`` are all to which a row or a letter of it belongs.
    """

    stretch: ShardRange
    portions: tuple[Portion, ...]
    filtered: int = 0
    discarded_fields: int = 0


@dataclass(frozen=True)
class Mark:
    """A place at which ``through`` may stop, and what was left out since the mark before it."""

    last: str | None
    until: datetime
    ended: bool
    filtered: int
    discarded_fields: int

    @property
    def place(self) -> int:
        return rank(self.last)


@dataclass(frozen=True)
class Advance:
    """How far ``through`` can go, and what was left out on the way."""

    reached: ShardRange
    filtered: int
    discarded_fields: int


@dataclass(frozen=True)
class Ledger:
    """What has been read of a shard and is not wholly delivered."""

    source: str
    read: Stretches = field(default_factory=Stretches)
    found: Mapping[Portion, Stretches] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()

    def add(self, account: BlockAccount) -> Ledger:
        """With a block's account. One that is there already changes no place."""
        start, end = rank(account.stretch.after), rank(reached_place(account.stretch).last)
        part = Stretches.of((start, end))
        found = dict(self.found)
        for portion in account.portions:
            found[portion] = found.get(portion, Stretches()) | part
        is_known = start < end and not part - self.read
        return replace(
            self,
            read=self.read | part,
            found=found,
            marks=self.marks if is_known else _with_mark(self.marks, _mark_of(account)),
        )

    def advance(self, state: ShardState) -> Advance | None:
        """The last mark before which nothing found is missing in ``state``; None if none is new."""
        limit = self._limit(state)
        passed = [mark for mark in self.marks if mark.place <= limit]
        if not passed or not self._is_new(passed[-1], state):
            return None
        counted = [mark for mark in passed if mark.place > state.place or state.through is None]
        filtered = sum(mark.filtered for mark in counted)
        discarded = sum(mark.discarded_fields for mark in counted)
        return Advance(self._reached(passed[-1]), filtered, discarded)

    def _reached(self, mark: Mark) -> ShardRange:
        return ShardRange(self.source, None, mark.last, mark.until, mark.ended)

    def _is_new(self, mark: Mark, state: ShardState) -> bool:
        return state.with_through(self._reached(mark)) is not state

    def _limit(self, state: ShardState) -> int:
        missing = (places - state.of(portion) for portion, places in self.found.items())
        starts = [places.spans[0][0] for places in missing if places]
        return min([self.read.end_of(state.place), *starts])

    def trimmed(self, state: ShardState) -> Ledger:
        """Without what is of no more use, all of it being delivered."""
        found = {p: places - state.of(p) for p, places in self.found.items()}
        return replace(
            self,
            read=self.read.above(state.place),
            found={portion: places for portion, places in found.items() if places},
            marks=tuple(mark for mark in self.marks if self._is_new(mark, state)),
        )


def _mark_of(account: BlockAccount) -> Mark:
    place = reached_place(account.stretch)
    return Mark(place.last, place.until, place.ended, account.filtered, account.discarded_fields)


def _with_mark(marks: tuple[Mark, ...], new: Mark) -> tuple[Mark, ...]:
    """The marks with one more, without those that lie close before another."""
    kept: list[Mark] = []
    for mark in sorted((*marks, new), key=lambda mark: (mark.place, mark.until)):
        is_close = bool(kept) and _are_close(kept, mark)
        kept.append(_joined(kept.pop(), mark) if is_close else mark)
    return tuple(kept)


def _are_close(kept: Sequence[Mark], mark: Mark) -> bool:
    """Whether the last one kept is dispensable: at the same place, or soon after the one before."""
    if kept[-1].place == mark.place:
        return True
    return len(kept) > 1 and mark.until - kept[-2].until < MARK_EVERY


def _joined(earlier: Mark, later: Mark) -> Mark:
    return Mark(
        later.last,
        max(earlier.until, later.until),
        earlier.ended or later.ended,
        earlier.filtered + later.filtered,
        earlier.discarded_fields + later.discarded_fields,
    )
