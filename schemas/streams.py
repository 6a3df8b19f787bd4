"""What a delivery reads from a stream: shards, stretches of their records, and how far that went.

A sequence number is a decimal number of up to 129 digits, kept as the text that the service gives
(Kinesis API reference, ``Record.SequenceNumber``); within a shard it grows. ``rank`` makes it
comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class StartKind(StrEnum):
    """Where reading of a shard begins that was never read before."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"


@dataclass(frozen=True)
class Start:
    """``moment`` is the time of ``AT_TIMESTAMP``, and None for the other kinds."""

    kind: StartKind = StartKind.TRIM_HORIZON
    moment: datetime | None = None


@dataclass(frozen=True)
class StreamAddress:
    """A Kinesis stream. ``endpoint`` is a URL in place of the region's own."""

    name: str
    region: str
    endpoint: str | None = None

    def source(self, shard_id: str) -> str:
        """The name of a shard in positions, dead letters and the delivery log."""
        return f"kinesis://{self.region}/{self.name}/{shard_id}"


@dataclass(frozen=True)
class Shard:
    """A shard as the service lists it.

    ``parents`` are the one or two shards it came from; ``last_sequence`` is set once it is closed.
    The hash keys it takes lie in [first_hash, last_hash].
    """

    shard_id: str
    parents: tuple[str, ...]
    first_hash: int
    last_hash: int
    first_sequence: str
    last_sequence: str | None = None

    @property
    def is_closed(self) -> bool:
        return self.last_sequence is not None


@dataclass(frozen=True)
class ShardRange:
    """A stretch of a shard that was read: what follows ``after``, up to ``last`` itself.

    ``after`` is None at the place where the shard was read from first, and ``last`` is None where
    it held nothing. ``until`` is the moment up to which all that had arrived has been read: the
    arrival of ``last``, or the time of the reading itself once it had caught up with the shard.
    ``ended`` says that the shard is closed and holds no more.
    """

    source: str
    after: str | None
    last: str | None
    until: datetime
    ended: bool = False


def is_shard(source: str) -> bool:
    """Whether a source is a shard of a stream; see ``StreamAddress.source``."""
    return source.startswith("kinesis://")


def rank(sequence: str | None) -> int:
    """A sequence number as a number; that of no record lies before all others."""
    return -1 if sequence is None else int(sequence)
