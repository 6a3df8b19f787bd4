"""One shard, read answer by answer: where it goes on, and what each answer accounts for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from schemas.changes import Block, InputFormat
from schemas.streams import ShardRange, Start, StartKind
from stores.streams.port import Answer, IteratorExpired, StreamClient

CLOCK_SLACK = timedelta(seconds=1)
"""How much earlier than the service's answer a shard counts as read up to.

A record may arrive while the answer is on its way, and that answer's time may be rounded up.
"""


@dataclass(frozen=True)
class ShardStep:
    """A shard to be read, and from where: right after a sequence number, else from ``start``.

    ``parents`` are shards to be read to their end before, as far as the same plan has them.
    ``until`` is how far it was read by time, None if never; ``is_closed`` says that no record can
    join it any more. A shard that ``is_lost`` is gone before it was read to its end.
    """

    shard_id: str
    source: str
    after: str | None
    start: Start
    until: datetime | None = None
    parents: tuple[str, ...] = ()
    is_closed: bool = False
    is_lost: bool = False


class ShardCursor:
    """Reads one shard. Not safe to be used by two threads at once.

    ``ended`` and ``caught_up`` tell of the last answer: whether the shard is closed and holds no
    more, and whether there was nothing more to read at that moment. ``until`` is the moment up to
    which all that arrived has been read; None until that is known. ``is_closed`` may be set once
    the service lists the shard as closed.
    """

    def __init__(self, client: StreamClient, step: ShardStep) -> None:
        self.source = step.source
        self.is_closed = step.is_closed
        self.ended = self.caught_up = False
        self.until = step.until
        self.sequence = step.after
        self._client = client
        self._shard_id = step.shard_id
        self._start = step.start
        self._iterator: str | None = None

    def read(self) -> Block | None:
        """The next answer as a block; None if it held no records.

        Raises what the client raises, and can be asked again after that: nothing is passed over.
        """
        was_closed, before = self.is_closed, self.sequence
        answer = self._answer()
        self._advance(answer, was_closed)
        return _block(answer, self._stretch(before, answer)) if answer.documents else None

    def rest(self) -> Block:
        """A block without documents, which tells how far the shard has been read by now."""
        until = self.until
        if until is None:
            raise RuntimeError("a shard of which no answer was complete has no position to tell")
        stretch = ShardRange(self.source, self.sequence, None, until, self.ended)
        return empty_block(stretch)

    def _answer(self) -> Answer:
        try:
            return self._client.read(self._open())
        except IteratorExpired:
            self._iterator = None
            return self._client.read(self._open())

    def _open(self) -> str:
        if self._iterator is None:
            start = self._start if self.until is None else _at(self.until)
            self._iterator = self._client.iterator(self._shard_id, self.sequence, start)
        return self._iterator

    def _advance(self, answer: Answer, was_closed: bool) -> None:
        self._iterator = answer.iterator
        self.caught_up = answer.behind == 0
        # Nothing can follow in a shard that was closed before it was asked, whatever iterator the
        # answer has.
        is_drained = was_closed and self.caught_up and not answer.documents
        self.ended = answer.iterator is None or is_drained
        if answer.sequences:
            self.sequence = answer.sequences[-1]
        self.until = self._reached(answer)

    def _reached(self, answer: Answer) -> datetime | None:
        moments = [moment for moment in (self.until, answer.arrived) if moment is not None]
        if self.caught_up or self.ended:
            moments.append(answer.answered - CLOCK_SLACK)
        return max(moments, default=None)

    def _stretch(self, before: str | None, answer: Answer) -> ShardRange:
        until = self.until or answer.answered
        return ShardRange(self.source, before, answer.sequences[-1], until, self.ended)


def lost_block(step: ShardStep) -> Block:
    """What there is to tell of a lost shard: that it has ended where it had been read to."""
    if step.until is None:
        raise RuntimeError("a shard that was never read cannot be lost")
    return empty_block(ShardRange(step.source, step.after, None, step.until, ended=True))


def empty_block(stretch: ShardRange) -> Block:
    """A block of a shard that has no documents, only a position to tell."""
    nothing = np.zeros(0, np.int64)
    return Block(stretch.source, InputFormat.CHANGE, [], 0, 0, nothing, (), stretch=stretch)


def _at(moment: datetime) -> Start:
    return Start(StartKind.AT_TIMESTAMP, moment)


def _block(answer: Answer, stretch: ShardRange) -> Block:
    starts, end = _offsets(answer.documents)
    return Block(
        source=stretch.source,
        format=InputFormat.CHANGE,
        documents=answer.documents,
        start=0,
        end=end,
        starts=starts,
        sequences=answer.sequences,
        stretch=stretch,
        arrived=answer.arrived,
    )


def _offsets(documents: list[bytes]) -> tuple[npt.NDArray[np.int64], int]:
    """Where each document begins in all of them together, and their length."""
    ends = np.cumsum([len(document) for document in documents], dtype=np.int64)
    starts = np.zeros(len(documents), np.int64)
    starts[1:] = ends[:-1]
    return starts, int(ends[-1])
