"""What the delivery log knows of a stream: up to where a shard is delivered, and what above that.

Rows of one stretch of a shard go to several files, which are not committed together: a window that
has ended is delivered while a later one still gathers. So each shard has a place ``through`` up to
which all is delivered, and above it, for each **portion** of the lake, the stretches whose rows for
this portion are delivered::

    shard             0────────through──────────────────────────────────>
    sale 10:00-10:05  ..............[=============delivered==]
    sale 10:05-10:10  .......................[]        (still gathered)
    event 10:00-10:05 ..............[===========]

Whoever delivers drops the rows that lie in these stretches already. How rows are told apart is part
of a portion's name, so a delivery with other windows can still tell what is there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from schemas.delivery import ERRORS
from schemas.streams import ShardRange, rank

Span = tuple[int, int]


@dataclass(frozen=True)
class Stretch:
    """A part of a shard: what follows ``after`` (None: the shard's first place) up to ``last``."""

    source: str
    after: str | None
    last: str


@dataclass(frozen=True)
class Stretches:
    """Parts of one shard: disjoint, in order, those that touch joined.

    A span (a, b) of two ranks stands for what follows a, up to b itself.
    """

    spans: tuple[Span, ...] = ()

    @staticmethod
    def of(*spans: Span) -> Stretches:
        """Any spans, in any order; they may overlap or be empty."""
        joined: list[Span] = []
        for after, last in sorted(span for span in spans if span[0] < span[1]):
            if joined and after <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((after, last))
        return Stretches(tuple(joined))

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __or__(self, other: Stretches) -> Stretches:
        if not self.spans or not other.spans:
            return other if not self.spans else self
        return Stretches.of(*self.spans, *other.spans)

    def __sub__(self, other: Stretches) -> Stretches:
        left: list[Span] = list(self.spans)
        for after, last in other.spans:
            left = [part for span in left for part in _without(span, after, last)]
        return Stretches(tuple(left))

    def above(self, place: int) -> Stretches:
        """What of them follows ``place``."""
        kept = ((max(after, place), last) for after, last in self.spans if last > place)
        return Stretches(tuple(kept))

    def meets(self, other: Stretches) -> bool:
        """Whether some record lies in both."""
        return self - other != self

    def holds(self, places: Sequence[int]) -> list[bool]:
        """For each place whether it lies in them."""
        ends = [last for _, last in self.spans]
        return [self._holds(place, bisect_left(ends, place)) for place in places]

    def _holds(self, place: int, span: int) -> bool:
        return span < len(self.spans) and self.spans[span][0] < place

    def end_of(self, place: int) -> int:
        """Where what follows ``place`` without a gap ends; ``place`` if nothing does."""
        for after, last in self.spans:
            if after <= place < last:
                return last
        return place

    def named(self, source: str) -> tuple[Stretch, ...]:
        return tuple(Stretch(source, sequence(a), str(b)) for a, b in self.spans)


def _without(span: Span, after: int, last: int) -> list[Span]:
    if last <= span[0] or span[1] <= after:
        return [span]
    parts = (span[0], after), (last, span[1])
    return [part for part in parts if part[0] < part[1]]


def sequence(place: int) -> str | None:
    """The sequence number of a rank: the inverse of ``schemas.streams.rank``."""
    return None if place < 0 else str(place)


def by_source(stretches: Iterable[Stretch]) -> dict[str, Stretches]:
    """Stretches of several shards, by shard."""
    found: dict[str, list[Span]] = {}
    for one in stretches:
        found.setdefault(one.source, []).append((rank(one.after), rank(one.last)))
    return {source: Stretches.of(*spans) for source, spans in found.items()}


@dataclass(frozen=True)
class Portion:
    """Rows that are delivered together: those of a type, a date and a window, or dead letters.

    ``window`` is the window's start in epoch seconds, ``length`` its length in seconds, and
    ``timezone`` that of the date. Two portions of different lengths or zones may share rows.
    """

    name: str
    date: str = ""
    window: int | None = None
    length: int | None = None
    timezone: str = ""

    @property
    def is_letters(self) -> bool:
        return self.name == ERRORS

    @property
    def key(self) -> str:
        """The portion in one line of text; no two have the same."""
        return f"{self.name}/{self.date}/{self.window}/{self.length}/{self.timezone}"


LETTERS = Portion(ERRORS)
"""The dead letters of all dates: a date is had from the block that a record came in, and the same
record may come again in another block."""


@dataclass(frozen=True)
class Streamed:
    """A portion and the stretches whose rows for it a commit delivers."""

    portion: Portion
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class ShardState:
    """How far a shard is delivered: wholly up to ``through.last``, by portion above it.

    ``through`` is None for a shard of which no commit says that anything is delivered wholly.
    """

    through: ShardRange | None = None
    delivered: Mapping[Portion, Stretches] = field(default_factory=dict)

    @property
    def place(self) -> int:
        """The rank of the last record up to which all is delivered."""
        return -1 if self.through is None else rank(self.through.last)

    def of(self, portion: Portion) -> Stretches:
        """What is delivered of a portion: all up to ``through``, and its stretches above it."""
        return Stretches.of((-1, self.place)) | self.delivered.get(portion, Stretches())

    def cuts(self) -> set[tuple[str, int | None]]:
        """Zones and window lengths by which rows above ``through`` were told apart."""
        return {(p.timezone, p.length) for p in self.delivered if not p.is_letters}

    def reaches(self, place: int) -> bool:
        """Whether a record at ``place`` or one after it may be delivered already."""
        ends = (found.spans[-1][1] for found in self.delivered.values())
        return place <= max(self.place, max(ends, default=-1))

    def with_streamed(self, portion: Portion, stretches: Stretches) -> ShardState:
        known = self.delivered.get(portion, Stretches())
        added = (known | stretches).above(self.place)
        return self if not added else replace(self, delivered={**self.delivered, portion: added})

    def with_through(self, reached: ShardRange) -> ShardState:
        """With all delivered that ``reached`` covers; a place that lies behind changes nothing."""
        if self.through is not None and _progress(reached) <= _progress(self.through):
            return self
        left = {p: known.above(rank(reached.last)) for p, known in self.delivered.items()}
        return ShardState(reached, {p: known for p, known in left.items() if known})


def _progress(reached: ShardRange) -> tuple[int, bool, datetime]:
    return rank(reached.last), reached.ended, reached.until


def fold(
    states: dict[str, ShardState], shards: Iterable[ShardRange], streamed: Iterable[Streamed]
) -> None:
    """Bring ``states``, by source, up to what a commit says."""
    for one in streamed:
        for source, stretches in by_source(one.stretches).items():
            known = states.get(source, ShardState())
            states[source] = known.with_streamed(one.portion, stretches)
    for reached in shards:
        states[reached.source] = states.get(reached.source, ShardState()).with_through(
            reached_place(reached)
        )


def reached_place(stretch: ShardRange) -> ShardRange:
    """The place that reading a stretch leads to: where it ends, or began if it held nothing."""
    last = stretch.after if stretch.last is None else stretch.last
    return replace(stretch, after=None, last=last)
