"""What every way of asking does with data subject requests: REST's, and GraphQL's.

Whoever asks is the principal of the request that is being answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from flask import Response, request

from dsr.changing import found
from dsr.desk import Desk
from dsr.requests import Search, at_risk, particulars, search
from dsr.submit import Submitter, request_id_of, submit
from schemas.access import Action, Principal, Reach, Resource
from schemas.dsr import Dsr, DsrCursor, DueCursor, Particulars
from schemas.errors import Forbidden, LetheError
from service.answers import answer
from service.context import principal, reach
from service.dsr.shown import AtRiskQuery, DsrSearch, DsrsQuery, NewDsr, in_full, shown
from service.idempotency import Attempt, Idempotency
from service.paging import Page, Place, read_cursor, write_cursor
from stores.subjects import SealBroken

KIND = "dsr"

_DUE = "due"
"""The kind of cursors in lists by deadline."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Intake:
    """Takes requests in; ``count`` is told of each one's type, what became of it, and seconds."""

    desk: Desk
    idempotency: Idempotency
    count: Callable[[str, str, float], None]

    def once(self, item: NewDsr, submitter: Submitter, attempt: Attempt) -> Response:
        """The answer to a request of its own. Raises what ``submit`` and ``once`` raise."""

        def work() -> Response:
            taken = self.take(item, submitter, request_id_of(attempt.created_id()))
            return answer(taken, 202, {"Location": f"/v1/dsr/{taken['id']}"})

        return self.idempotency.once(attempt, work)

    def take(self, item: NewDsr, submitter: Submitter, request_id: str) -> Mapping[str, Any]:
        """The new request as it is shown. Raises what ``submit`` raises."""
        began = time.perf_counter()
        try:
            dsr = submit(self.desk, item.order(), submitter, request_id)
        except LetheError as error:
            self.count(item.type, error.code, time.perf_counter() - began)
            raise
        self.count(item.type, dsr.status.value, time.perf_counter() - began)
        return shown(dsr, self.desk.clock())


def submitter_here() -> Submitter:
    """Whoever submits. Raises ``Forbidden`` if they may not."""
    reach(Resource.DSR, Action.CREATE)
    who = principal()
    return Submitter(who.subject, who.organization, _readable(who), request.remote_addr)


def one_shown(desk: Desk, request_id: str) -> Mapping[str, Any]:
    """A request, in full to who may approve it. Raises ``NotFound`` and ``Forbidden``."""
    dsr = found(desk, request_id, reach(Resource.DSR, Action.READ))
    if not _may_approve(principal(), dsr):
        return shown(dsr, desk.clock())
    return in_full(dsr, _opened(desk, dsr), desk.clock())


def page_shown(desk: Desk, query: DsrsQuery | DsrSearch) -> Mapping[str, Any]:
    """A page, as ``DsrsPage`` has it. Raises ``Forbidden``, and ``Invalid`` for a bad cursor."""
    within = reach(Resource.DSR, Action.READ)
    place = None if query.cursor is None else read_cursor(KIND, query.cursor)
    after = None if place is None else DsrCursor(place.at, place.id)
    asked = Search(query.subject(), query.status, after, query.limit + 1)
    page = Page.of(search(desk, asked, within), query.limit)
    return {"items": all_shown(desk, page.items), "nextCursor": _next(page)}


def at_risk_shown(desk: Desk, query: AtRiskQuery) -> Mapping[str, Any]:
    """A page, as ``DsrsAtRisk`` has it. Raises ``Forbidden``, and ``Invalid`` for a bad cursor."""
    within = reach(Resource.DSR, Action.READ)
    place = None if query.cursor is None else read_cursor(_DUE, query.cursor)
    after = None if place is None else DueCursor(place.at, place.id)
    found = at_risk(desk, within, query.limit + 1, query.days, after)
    page = Page.of(found, query.limit)
    last = page.items[-1] if page.more else None
    cursor = None if last is None else write_cursor(_DUE, Place(last.due_at, last.id))
    return {"items": all_shown(desk, page.items), "nextCursor": cursor}


def all_shown(desk: Desk, requests: Sequence[Dsr]) -> list[Mapping[str, Any]]:
    """Requests as ``DsrShown`` has them."""
    now = desk.clock()
    return [shown(dsr, now) for dsr in requests]


def _readable(who: Principal) -> Reach | None:
    try:
        return who.reach(Resource.DSR, Action.READ)
    except Forbidden:
        return None


def _may_approve(who: Principal, dsr: Dsr) -> bool:
    """Whether their right to approve reaches this request."""
    try:
        within = who.reach(Resource.DSR, Action.APPROVE)
    except Forbidden:
        return False
    return within.organization in {None, dsr.organization} and within.owner in {None, dsr.owner}


def _opened(desk: Desk, dsr: Dsr) -> Particulars | None:
    """Who a request is about; None if that cannot be opened, which says nothing of the rest."""
    try:
        return particulars(desk, dsr)
    except SealBroken as error:
        _log.error("a request cannot be opened", code=error.code, message=error.message)
        return None


def _next(page: Page[Dsr]) -> str | None:
    if not page.more:
        return None
    last = page.items[-1]
    return write_cursor(KIND, Place(last.received_at, last.id))
