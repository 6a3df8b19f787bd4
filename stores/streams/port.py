"""The stream port: what the readers need of a service that keeps records in shards.

Every method is one attempt. It may raise ``StoreUnavailable``, which is worth another attempt
after a pause (``stores.streams.backoff``); ``AccessDenied`` and ``InputError`` (no such stream),
which are not; and ``StoreError`` for what else the service refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from schemas.errors import StoreError
from schemas.streams import Shard, Start, StreamAddress


class IteratorExpired(StoreError):
    """An iterator was kept for longer than the service allows: ask for a new one."""

    code = "iterator_expired"


@dataclass(frozen=True)
class Answer:
    """Records that follow each other in a shard, and where the next answer begins.

    ``sequences`` has the sequence number of each document, and ``arrived`` is when the last of them
    reached the stream; None if there are none. ``iterator`` leads to the next answer; None if the
    shard is closed and holds no more. ``behind`` is how far the answer is from the shard's tip, in
    milliseconds; 0 if there was nothing more to read. ``answered`` is the time of the answer by the
    service's own clock, which may be a whole second coarse.
    """

    documents: list[bytes]
    sequences: tuple[str, ...]
    arrived: datetime | None
    iterator: str | None
    behind: int
    answered: datetime


class StreamClient(Protocol):
    """One stream. Safe to share between threads."""

    @property
    def address(self) -> StreamAddress: ...

    def list_shards(self) -> list[Shard]:
        """All shards that still hold records, open and closed, in no particular order."""

    def retention(self) -> timedelta:
        """For how long records are kept."""

    def iterator(self, shard_id: str, after: str | None, start: Start) -> str:
        """An iterator that begins right after a sequence number, or at ``start`` if it is None."""

    def read(self, iterator: str) -> Answer:
        """The next records: up to 10,000 or 10 MB. May be empty although more follow.

        Raises ``IteratorExpired``.
        """
