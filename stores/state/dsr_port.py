"""The state ports of data subject requests. See ``stores.state.port`` for the rules.

A change of a request, its event and its audit entry are one transaction: all or none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from schemas.access import Reach
from schemas.audit import AuditCheckpoint, AuditDraft, AuditEntry, AuditHead
from schemas.dsr import Dsr, DsrQuery, DueCursor, OpenTally
from schemas.dsr_lake import LakeState
from schemas.errors import StoreError


class OpenRequestExists(StoreError):
    """A request that is not closed asks for the same, for the same subject.

    ``details["request_id"]`` is its id; None if it is another of those to be added.
    """

    code = "open_request_exists"
    http_status = 409


class DsrStore(Protocol):
    """Data subject requests; what is outside of a ``Reach`` is not there."""

    def add(self, requests: Sequence[Dsr], drafts: Sequence[AuditDraft]) -> None:
        """Keep new requests, one draft each; all or none. Raises ``StoreError`` for a taken id.

        Raises ``OpenRequestExists`` if an organization has, or would get, two requests that are not
        closed, share a subject, and are of one regulation and type; of several callers at once one
        adds.
        """

    def get(self, request_id: str, reach: Reach) -> Dsr | None:
        """The request of this id."""

    def get_many(self, request_ids: Sequence[str], reach: Reach) -> list[Dsr]:
        """Those that are there, in the order asked for; at most 100 ids."""

    def find(self, query: DsrQuery, reach: Reach) -> list[Dsr]:
        """Newest first; a cursor goes on at its place although others are added meanwhile."""

    def change(self, changed: Dsr, draft: AuditDraft) -> Dsr | None:
        """Put ``changed`` in the place of the version before it.

        ``changed.version`` is the version that was read. None if that is not the one that is
        there, or if its status is another one and may not become the new one: read again, and
        decide again. Returns it with its new version. Subjects gone from it find it no more; none
        may come, and whose it is, what it asks for and when it was received stay as they are.
        """

    def waiting(self, now: datetime, limit: int) -> list[Dsr]:
        """Queued requests whose next try is due and that are not parked, oldest first.

        Of one subject of an organization only the oldest, due or not: requests of a subject are
        sent in order. One that is parked holds up no other. Those whose cancellation is requested
        are among them: they may have reached their processor.
        """

    def to_cancel(self, now: datetime, limit: int) -> list[Dsr]:
        """Submitted requests to be cancelled at their processor whose next try is due.

        Those that are parked are not among them.
        """

    def to_ask_about(self, now: datetime, limit: int) -> list[Dsr]:
        """Requests that a processor has, and is to be asked about by now: the longest due first.

        They are submitted or in progress, and their next try is due; one that has no next try is
        not asked about. Nor are those that are parked, or among ``to_cancel``.
        """

    def at_lake(self, states: Collection[LakeState], limit: int) -> list[Dsr]:
        """Requests whose lake's part is in one of these states, of each the oldest first.

        Only ``waiting``, ``counting`` and ``running`` are asked for. They are queued, submitted or
        in progress, and not to be cancelled.
        """

    def due_before(
        self, moment: datetime, reach: Reach, limit: int, after: DueCursor | None = None
    ) -> list[Dsr]:
        """Open requests whose deadline is before ``moment``, the soonest first.

        Those that follow ``after``, so that all are gone through a page at a time.
        """

    def tally(self, due_before: datetime) -> OpenTally:
        """How many of everybody's are open, all of them; without reading the requests."""

    def to_minimise(self, closed_before: datetime, limit: int) -> list[Dsr]:
        """Closed requests that still hold identities."""


class AuditLog(Protocol):
    """The audit log; entries are only ever added."""

    def append(self, draft: AuditDraft) -> AuditEntry:
        """Add an entry that belongs to no change of a request."""

    def head(self) -> AuditHead:
        """The newest entry's place in the chain."""

    def entries(self, after: int, limit: int) -> list[AuditEntry]:
        """Entries that follow a number, in order."""

    def of(self, resource: str, reach: Reach) -> Iterator[AuditEntry]:
        """The entries of one resource, in order; with a reach of ``own``, those of one's own acts.

        Entries are fetched as they are needed.
        """

    def keep_checkpoint(self, checkpoint: AuditCheckpoint) -> None:
        """Keep a signed checkpoint, unless there is one of this entry by this key."""

    def checkpoints(self, after: int, limit: int) -> list[AuditCheckpoint]:
        """Checkpoints of entries that follow a number, in their order."""

    def newest_checkpoint(self) -> AuditCheckpoint | None:
        """The checkpoint of the newest entry that has one."""
