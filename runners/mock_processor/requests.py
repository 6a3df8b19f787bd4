"""The requests that the mock processor keeps, and what there is to tell of them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.dsr import Identity, RequestType
from schemas.opendsr.model import Dialect, ProcessingStatus, StatusReport, SubjectRequest

TAKES = timedelta(days=14)
"""How long after it was received a request is said to be completed."""

_ORDER = (ProcessingStatus.PENDING, ProcessingStatus.IN_PROGRESS, ProcessingStatus.COMPLETED)
_FINAL = {ProcessingStatus.COMPLETED, ProcessingStatus.CANCELLED}


_Subject = tuple[RequestType, tuple[Identity, ...], str]


class Taken(Exception):
    """There is a request of this id already."""


class InProgress(Exception):
    """There is another request of the same identities that is not at its end."""


class TooLate(Exception):
    """The request is not pending any more."""


@dataclass(frozen=True)
class Kept:
    """A request and where it is; it changes again at ``due`` by the mock's clock, if ever."""

    request: SubjectRequest
    dialect: Dialect
    received_at: datetime
    status: ProcessingStatus
    due: float | None

    @property
    def report(self) -> StatusReport:
        return StatusReport(
            request_id=self.request.id,
            status=self.status,
            controller_id=CONTROLLER,
            expected_completion_at=self.received_at + TAKES,
            group_id=self.request.group_id,
        )


CONTROLLER = "mock-controller"
"""What the processor calls whoever sends it requests."""


class Requests:
    """All requests, for one thread."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._open: dict[_Subject, str] = {}
        self._due: list[tuple[float, str]] = []

    def add(self, kept: Kept) -> None:
        """Keep a new one. Raises ``Taken``, and as mParticle does ``InProgress``."""
        if kept.request.id in self._kept:
            raise Taken
        if kept.dialect is Dialect.MPARTICLE_3 and _subject(kept) in self._open:
            raise InProgress
        self._keep(kept)

    def get(self, request_id: str) -> Kept | None:
        return self._kept.get(request_id)

    def group(self, group_id: str) -> list[Kept]:
        return [kept for kept in self._kept.values() if kept.request.group_id == group_id]

    def ids(self) -> list[str]:
        return list(self._kept)

    def cancel(self, kept: Kept) -> Kept:
        """The request, cancelled. Raises ``TooLate``."""
        if kept.status is not ProcessingStatus.PENDING:
            raise TooLate
        return self._changed(kept, ProcessingStatus.CANCELLED, None)

    def go_on(self, now: float, step: float | None) -> list[Kept]:
        """All whose time has come, in their next status."""
        found = []
        while self._due and self._due[0][0] <= now:
            due, request_id = heapq.heappop(self._due)
            kept = self._kept[request_id]
            if kept.due == due:
                found.append(self._next(kept, None if step is None else now + step))
        return found

    def advance(self) -> list[Kept]:
        """All that are not at their end, in their next status."""
        return [self._next(self._kept[request_id], None) for request_id in [*self._open.values()]]

    def _next(self, kept: Kept, due: float | None) -> Kept:
        status = _ORDER[_ORDER.index(kept.status) + 1]
        return self._changed(kept, status, None if status in _FINAL else due)

    def _changed(self, kept: Kept, status: ProcessingStatus, due: float | None) -> Kept:
        changed = replace(kept, status=status, due=due)
        self._keep(changed)
        return changed

    def _keep(self, kept: Kept) -> None:
        self._kept[kept.request.id] = kept
        if kept.status in _FINAL:
            self._open.pop(_subject(kept), None)
        else:
            self._open[_subject(kept)] = kept.request.id
        if kept.due is not None:
            heapq.heappush(self._due, (kept.due, kept.request.id))


def _subject(kept: Kept) -> _Subject:
    """What no two requests that are open may share; of the specification's dialect each may."""
    request = kept.request
    own = "" if kept.dialect is Dialect.MPARTICLE_3 else request.id
    return request.type, request.identities, own
