"""An engine in a few lines, to play with: the real stages, with state that can be put back.

One attempt of a job has a place in the source, what rests in state, and what is on its way to the
commit. A checkpoint is a copy of all that, taken when nothing is on its way. Attempts share the
lake alone, so an old one that goes on beside a new one is a job that was given up and is not dead.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from apache_beam.pvalue import TaggedOutput

from schemas.changes import Block
from schemas.stream_ledger import BlockAccount
from stores.log import Run
from stores.objects.port import ObjectStore
from stores.stream_log import StagedPane
from tests.unit.transforms.batches import REGISTRY
from tests.unit.transforms.stream_blocks import batch
from transforms.cut import RowPiece
from transforms.partition import Partitioning
from transforms.rotate import Rotate, Windowing
from transforms.state_coders import BlockAccountCoder, BooksCoder, RowPieceCoder
from transforms.stream_stages import CommitStream, CutBatches, SkipDelivered, WritePanes
from transforms.write import LakeWriter, Output


class Bag:
    """State of many values."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def read(self) -> list[Any]:
        return list(self.values)

    def add(self, value: Any) -> None:
        self.values.append(value)

    def clear(self) -> None:
        self.values = []


class Cell(Bag):
    """State of one value."""

    def read(self) -> Any:
        return self.values[0] if self.values else None

    def write(self, value: Any) -> None:
        self.values = [value]


class Timer:
    """A timer that notes when it was set to; the test says when it fires."""

    def __init__(self) -> None:
        self.at: Any = None

    def set(self, at: Any) -> None:
        self.at = at


class KeyState:
    """The state of one key of ``Rotate``."""

    def __init__(self) -> None:
        self.pieces, self.gathered, self.remembered = Bag(), Cell(), Bag()
        self.end, self.idle, self.forget = Timer(), Timer(), Timer()


class Kept:
    """All that a checkpoint holds; ``places`` are those up to which each shard was read."""

    def __init__(self, places: dict[str, int]) -> None:
        self.places = places
        self.keys: dict[str, KeyState] = {}
        self.books = Cell()


class Attempt:
    """One attempt at a job; ``kept`` is changed by it."""

    def __init__(self, store: ObjectStore, run: Run, windowing: Windowing, kept: Kept) -> None:
        lake = LakeWriter(store, REGISTRY, Output(), run.run_id)
        self._skip, self._write = SkipDelivered(store), WritePanes(lake)
        self._cut = CutBatches(Partitioning(window=300))
        self._rotate = Rotate(windowing)
        self._commit = CommitStream(store, run)
        for stage in (self._skip, self._write, self._commit):
            stage.setup()
        self.kept = kept
        self.on_the_way: list[StagedPane | BlockAccount] = []

    def read(self, block: Block) -> None:
        """Let a block go as far as it goes at once."""
        self._skip.start_bundle()
        for left in self._skip.process(block):
            for made in self._cut.process(batch(left)):
                if isinstance(made, TaggedOutput):
                    self.on_the_way.append(_through(BlockAccountCoder(), made.value))
                else:
                    self._gather(made[0], _through(RowPieceCoder(), made[1]))
        assert block.stretch is not None
        self.kept.places[block.source] = int(block.stretch.last or 0)

    def _gather(self, key: str, piece: RowPiece) -> None:
        state = self.kept.keys.setdefault(key, KeyState())
        self._stage(
            self._rotate.process(
                (key, piece),
                state.pieces,
                state.gathered,
                state.remembered,
                state.end,
                state.idle,
                state.forget,
            )
        )

    def gathered(self) -> list[str]:
        """The keys with rows in state."""
        return sorted(key for key, state in self.kept.keys.items() if state.pieces.values)

    def flush(self, key: str) -> None:
        """Fire the timer at the end of a portion's window."""
        state = self.kept.keys[key]
        self._stage(
            self._rotate.at_end(state.pieces, state.gathered, state.remembered, state.forget)
        )

    def _stage(self, panes: Iterable[Any]) -> None:
        for pane in panes:
            self._write.start_bundle()
            self.on_the_way += self._write.process(pane)

    def commit(self, chosen: Sequence[int] | None = None) -> None:
        """A bundle of what is on its way, by place and in that order; by default of all."""
        places = range(len(self.on_the_way)) if chosen is None else chosen
        taken = [self.on_the_way[place] for place in places]
        self.on_the_way = [x for n, x in enumerate(self.on_the_way) if n not in set(places)]
        books, progress, last = self.kept.books, Timer(), Timer()
        self._commit.start_bundle()
        for item in taken:
            self._commit.process(("", item), books, progress, last)
        self._commit.at_times(books)
        self._commit.finish_bundle()

    def checkpoint(self) -> Kept:
        """What is kept; all that was on its way is committed first."""
        self.commit()
        books = Cell()
        if self.kept.books.values:
            books.write(_through(BooksCoder(), self.kept.books.read()))
        self.kept.books = books
        return copy.deepcopy(self.kept)


def _through(coder: Any, value: Any) -> Any:
    """The value as it is after it was encoded and decoded."""
    return coder.decode(coder.encode(value))
