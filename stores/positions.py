"""Where a lake stands: the log's entries up to one of them, added up, and kept as a snapshot.

Besides how far sources are delivered this is what late rows of erased subjects need. A commit whose
writers did not know of a suppression that stands before it in the log may hold rows of suppressed
subjects. It **owes** a look at its files, until an entry says that it was cleansed::

    number   7 suppress   8 deliver, knows 7   9 deliver, knows 0   10 erase, cleansed 9
    owed     -            -                    9                    -

What an erasure or a compaction writes is no news: its rows stood in the lake before, where the
erasure that the suppression belongs to looks, and of two that take the same file one is refused.
But a compaction carries late rows on if it meets a commit that owes, and then owes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from schemas.erasure import SuppressionRef
from schemas.inputs import SourcePosition
from schemas.stream_log import ShardState, Streamed, fold
from schemas.streams import ShardRange
from stores.log_entries import COMPACT, ERASE, Commit


@dataclass(frozen=True)
class Positions:
    """How far every source, by its URI, has been delivered by commit ``number``.

    ``shards`` are those of streams, by the name that blocks give as their source. ``suppressions``
    are the lists of suppressed subjects, oldest first, each with the number of its entry, less
    those whose subjects are on a later list as well. ``owed``
    are the numbers of commits whose files may hold rows of suppressed subjects.
    """

    number: int
    sources: Mapping[str, SourcePosition]
    shards: Mapping[str, ShardState] = field(default_factory=dict)
    suppressions: tuple[SuppressionRef, ...] = ()
    owed: tuple[int, ...] = ()

    @property
    def knows(self) -> int:
        """The number of the newest suppression; 0 if there is none."""
        return self.suppressions[-1].number if self.suppressions else 0


@dataclass(frozen=True)
class Snapshot:
    """All positions; of shards in the form of a commit that would lead to them at once."""

    number: int
    sources: tuple[SourcePosition, ...]
    shards: tuple[ShardRange, ...] = ()
    streamed: tuple[Streamed, ...] = ()
    suppressions: tuple[SuppressionRef, ...] = ()
    owed: tuple[int, ...] = ()


def snapshot_of(positions: Positions) -> Snapshot:
    shards = positions.shards
    return Snapshot(
        positions.number,
        tuple(positions.sources.values()),
        tuple(state.through for state in shards.values() if state.through is not None),
        _as_streamed(shards),
        positions.suppressions,
        positions.owed,
    )


def positions_after(snapshot: Snapshot | None, commits: Iterable[Commit]) -> Positions:
    """Positions after the commits that follow a snapshot, or after all there are."""
    start = snapshot or Snapshot(0, ())
    number, sources = start.number, {source.uri: source for source in start.sources}
    shards: dict[str, ShardState] = {}
    fold(shards, start.shards, start.streamed)
    cleanliness = Cleanliness(start.suppressions, start.owed)
    for commit in commits:
        number = commit.number
        _advance(sources, commit.sources)
        fold(shards, commit.shards, commit.streamed)
        cleanliness = cleanliness.after(commit)
    return Positions(number, sources, shards, cleanliness.suppressions, cleanliness.owed)


@dataclass(frozen=True)
class Cleanliness:
    """Who is suppressed, and which commits may hold rows of theirs nevertheless."""

    suppressions: tuple[SuppressionRef, ...] = ()
    owed: tuple[int, ...] = ()

    def after(self, commit: Commit) -> Cleanliness:
        """As it is with one entry more."""
        begun, owed = self.suppressions, self.owed
        if commit.suppressed is not None:
            holds = commit.suppressed.holds
            others = (listed for listed in begun if listed.number not in holds)
            begun = (*others, replace(commit.suppressed, number=commit.number))
        if begun and _is_stale(commit, begun[-1].number, owed):
            owed = (*owed, commit.number)
        if commit.cleansed:
            owed = tuple(number for number in owed if number not in commit.cleansed)
        return Cleanliness(begun, owed)


def _is_stale(commit: Commit, newest: int, owed: tuple[int, ...]) -> bool:
    if commit.kind == COMPACT:
        return bool(owed)
    return commit.kind != ERASE and commit.knows < newest and bool(commit.files)


def _advance(positions: dict[str, SourcePosition], sources: Iterable[SourcePosition]) -> None:
    for source in sources:
        known = positions.get(source.uri)
        ranges = source.ranges if known is None else (*known.ranges, *source.ranges)
        positions[source.uri] = replace(source, ranges=ranges)


def _as_streamed(states: Mapping[str, ShardState]) -> tuple[Streamed, ...]:
    return tuple(
        Streamed(portion, stretches.named(source))
        for source, state in states.items()
        for portion, stretches in state.delivered.items()
    )
