"""Data subject requests: submit, watch, extend, review, cancel them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from dsr.cancel import cancel
from dsr.changing import found
from dsr.desk import Desk, open_desk
from dsr.extend import extend
from dsr.requests import Search, at_risk, get_many, history, particulars, search
from dsr.review import Verdict, review
from dsr.submit import Submitter, request_id_of, submit
from schemas.access import Action, Principal, Reach, Resource
from schemas.dsr import Dsr, DsrCursor, Particulars
from schemas.errors import Forbidden, LetheError, RequestError
from service.answers import answer
from service.bootstrap import Wiring
from service.context import correlation_id, principal, reach
from service.dsr.shown import (
    AtRiskQuery,
    DsrBulkAnswer,
    DsrBulkResult,
    DsrHistory,
    DsrIds,
    DsrInFull,
    DsrsAtRisk,
    DsrSearch,
    DsrsFound,
    DsrShown,
    DsrsPage,
    DsrsQuery,
    ExtensionGiven,
    NewDsr,
    NewDsrs,
    ReviewGiven,
    in_full,
    shown,
    shown_entry,
)
from service.errors import ErrorBody, fault_of
from service.openapi import feature
from service.paging import Page, Place, read_cursor, write_cursor
from stores.subjects import SealBroken

KIND = "dsr"

_MOST_ENTRIES = 500

_log = structlog.get_logger()


class DsrPath(BaseModel):
    """Which request."""

    request_id: str = Field(description="The `id`.")


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature(KIND, "Data subject requests", "Erasure, access and portability, by deadline.")
    desk = open_desk(wiring.settings.dsr, wiring.state, wiring.parameters, wiring.clock)
    _submitting(api, wiring, Intake(desk, wiring.observer.metrics.count_submission))
    _looking_up(api, desk)
    _changing(api, desk)
    return api


@dataclass(frozen=True)
class Intake:
    """Takes requests in; ``count`` is told of each one's type and what became of it."""

    desk: Desk
    count: Callable[[str, str], None]

    def take(self, item: NewDsr, submitter: Submitter, request_id: str) -> Mapping[str, Any]:
        """The new request as it is shown. Raises what ``submit`` raises."""
        try:
            dsr = submit(self.desk, item.order(), submitter, request_id)
        except LetheError as error:
            self.count(item.type, error.code)
            raise
        self.count(item.type, dsr.status.value)
        return shown(dsr, self.desk.clock())

    def take_one_of_several(
        self, item: NewDsr, submitter: Submitter, request_id: str
    ) -> Mapping[str, Any]:
        """What became of an item, as ``DsrBulkResult`` has it."""
        try:
            taken = self.take(item, submitter, request_id)
        except RequestError as error:
            return _refused(error, self.desk.clock())
        return {"status": 202, "result": taken, "error": None}


def _submitting(api: APIBlueprint, wiring: Wiring, intake: Intake) -> None:
    @api.post("/v1/dsr", responses={202: DsrShown, 409: ErrorBody})
    def submit_dsr(body: NewDsr) -> Response:
        """Submit a request; it goes to the processor, or waits for a reviewer if it is risky."""
        submitter = _submitter()
        attempt = wiring.idempotency.attempt(request, principal())

        def work() -> Response:
            taken = intake.take(body, submitter, request_id_of(attempt.created_id()))
            return answer(taken, 202, {"Location": f"/v1/dsr/{taken['id']}"})

        return wiring.idempotency.once(attempt, work)

    @api.post("/v1/dsr:bulk", responses={207: DsrBulkAnswer, 409: ErrorBody})
    def submit_dsrs(body: NewDsrs) -> Response:
        """Submit several requests, each on its own: what is wrong with one concerns no other."""
        submitter = _submitter()
        attempt = wiring.idempotency.attempt(request, principal())

        def work() -> Response:
            ids = (request_id_of(attempt.created_id(place)) for place in range(len(body.items)))
            results = [
                intake.take_one_of_several(item, submitter, request_id)
                for item, request_id in zip(body.items, ids, strict=True)
            ]
            return answer({"results": results}, 207)

        return wiring.idempotency.once(attempt, work)


def _looking_up(api: APIBlueprint, desk: Desk) -> None:
    @api.get("/v1/dsr", responses={200: DsrsPage})
    def list_dsrs(query: DsrsQuery) -> Response:
        """List requests, newest first; by email rather with `POST /v1/dsr:search`."""
        return _page(desk, query)

    @api.post("/v1/dsr:search", responses={200: DsrsPage})
    def search_dsrs(body: DsrSearch) -> Response:
        """List requests of a subject or a status, newest first."""
        return _page(desk, body)

    @api.post("/v1/dsr:batchGet", responses={200: DsrsFound})
    def get_dsrs(body: DsrIds) -> Response:
        """Show several requests."""
        there = get_many(desk, body.ids, reach(Resource.DSR, Action.READ))
        known = {dsr.id for dsr in there}
        missing = [one for one in dict.fromkeys(body.ids) if one not in known]
        return answer({"items": _all_shown(desk, there), "missing": missing})

    @api.get("/v1/dsr:atRisk", responses={200: DsrsAtRisk})
    def list_dsrs_at_risk(query: AtRiskQuery) -> Response:
        """List open requests that are due soon, or overdue, the soonest first."""
        within = reach(Resource.DSR, Action.READ)
        page = Page.of(at_risk(desk, within, query.limit + 1, query.days), query.limit)
        return answer({"items": _all_shown(desk, page.items), "more": page.more})

    @api.get("/v1/dsr/<id:request_id>", responses={200: DsrInFull})
    def get_dsr(path: DsrPath) -> Response:
        """Show a request; who may approve requests sees its identities, masked."""
        dsr = found(desk, path.request_id, reach(Resource.DSR, Action.READ))
        if not _may_approve(principal(), dsr):
            return answer(shown(dsr, desk.clock()))
        return answer(in_full(dsr, _opened(desk, dsr), desk.clock()))

    @api.get("/v1/dsr/<id:request_id>/audit", responses={200: DsrHistory})
    def get_dsr_audit(path: DsrPath) -> Response:
        """Show what was done with a request, by the audit log."""
        within, audited = reach(Resource.DSR, Action.READ), reach(Resource.AUDIT, Action.READ)
        entries = [*history(desk, path.request_id, within, audited, _MOST_ENTRIES + 1)]
        page = Page.of(entries, _MOST_ENTRIES)
        return answer({"items": [*map(shown_entry, page.items)], "more": page.more})


def _changing(api: APIBlueprint, desk: Desk) -> None:
    @api.delete("/v1/dsr/<id:request_id>", responses={202: DsrShown, 409: ErrorBody})
    def cancel_dsr(path: DsrPath) -> Response:
        """Cancel a request: at once, or by its processor as long as that has not begun."""
        within = reach(Resource.DSR, Action.CANCEL)
        dsr = cancel(desk, path.request_id, within, principal().subject)
        return answer(shown(dsr, desk.clock()), 202)

    @api.post("/v1/dsr/<id:request_id>/extension", responses={200: DsrShown, 409: ErrorBody})
    def extend_dsr(path: DsrPath, body: ExtensionGiven) -> Response:
        """Extend a deadline, once, to the latest that the law allows."""
        within = reach(Resource.DSR, Action.APPROVE)
        dsr = extend(desk, path.request_id, within, principal().subject, body.reason)
        return answer(shown(dsr, desk.clock()))

    @api.post("/v1/dsr/<id:request_id>/review", responses={200: DsrShown, 409: ErrorBody})
    def review_dsr(path: DsrPath, body: ReviewGiven) -> Response:
        """Let a held request go on, or end it; not one's own."""
        within = reach(Resource.DSR, Action.APPROVE)
        verdict = Verdict(body.decision == "approve", body.reason)
        dsr = review(desk, path.request_id, within, principal().subject, verdict)
        return answer(shown(dsr, desk.clock()))


def _submitter() -> Submitter:
    """Whoever submits. Raises ``Forbidden`` if they may not."""
    reach(Resource.DSR, Action.CREATE)
    who = principal()
    return Submitter(who.subject, who.organization, _readable(who), request.remote_addr)


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


def _refused(error: RequestError, now: datetime) -> Mapping[str, Any]:
    """What is said of an item that was refused."""
    fault = fault_of(error)
    body = ErrorBody.model_validate(fault.body(correlation_id(), now))
    return DsrBulkResult(status=fault.status, error=body.error).model_dump(
        mode="json", by_alias=True
    )


def _page(desk: Desk, query: DsrsQuery | DsrSearch) -> Response:
    within = reach(Resource.DSR, Action.READ)
    place = None if query.cursor is None else read_cursor(KIND, query.cursor)
    after = None if place is None else DsrCursor(place.at, place.id)
    asked = Search(query.subject(), query.status, after, query.limit + 1)
    page = Page.of(search(desk, asked, within), query.limit)
    return answer({"items": _all_shown(desk, page.items), "nextCursor": _next(page)})


def _next(page: Page[Dsr]) -> str | None:
    if not page.more:
        return None
    last = page.items[-1]
    return write_cursor(KIND, Place(last.received_at, last.id))


def _all_shown(desk: Desk, requests: Sequence[Dsr]) -> list[Mapping[str, Any]]:
    now = desk.clock()
    return [shown(dsr, now) for dsr in requests]
