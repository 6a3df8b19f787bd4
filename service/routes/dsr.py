"""Data subject requests: submit, watch, extend, review, cancel them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from dsr.cancel import cancel
from dsr.desk import Desk, open_desk
from dsr.extend import extend
from dsr.lake import offer_of
from dsr.requests import get_many, history
from dsr.review import Verdict, review
from dsr.submit import Submitter, request_id_of
from schemas.access import Action, Resource
from schemas.errors import RequestError
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
    shown,
    shown_entry,
)
from service.dsr.taking import (
    KIND,
    Intake,
    all_shown,
    at_risk_shown,
    one_shown,
    page_shown,
    submitter_here,
)
from service.errors import ErrorBody, fault_of
from service.openapi import feature
from service.paging import Page

_MOST_ENTRIES = 500


class DsrPath(BaseModel):
    """Which request."""

    request_id: str = Field(description="The `id`.")


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature(KIND, "Data subject requests", "Erasure, access and portability, by deadline.")
    known = (wiring.parameters, wiring.clock, wiring.model, offer_of(wiring.settings))
    desk = open_desk(wiring.settings.dsr, wiring.state, *known)
    intake = Intake(desk, wiring.idempotency, wiring.observer.metrics.count_submission)
    _submitting(api, wiring, intake)
    _looking_up(api, desk)
    _changing(api, desk)
    return api


def _submitting(api: APIBlueprint, wiring: Wiring, intake: Intake) -> None:
    @api.post("/v1/dsr", responses={202: DsrShown, 409: ErrorBody})
    def submit_dsr(body: NewDsr) -> Response:
        """Submit a request, for processor and lake; a risky one waits for a reviewer first."""
        submitter = submitter_here()
        return intake.once(body, submitter, wiring.idempotency.attempt(request, principal()))

    @api.post("/v1/dsr:bulk", responses={207: DsrBulkAnswer, 409: ErrorBody})
    def submit_dsrs(body: NewDsrs) -> Response:
        """Submit several requests, each on its own: what is wrong with one concerns no other."""
        submitter = submitter_here()
        attempt = wiring.idempotency.attempt(request, principal())

        def work() -> Response:
            ids = (request_id_of(attempt.created_id(place)) for place in range(len(body.items)))
            results = [
                _one_of_several(intake, item, submitter, request_id)
                for item, request_id in zip(body.items, ids, strict=True)
            ]
            return answer({"results": results}, 207)

        return wiring.idempotency.once(attempt, work)


def _looking_up(api: APIBlueprint, desk: Desk) -> None:
    @api.get("/v1/dsr", responses={200: DsrsPage})
    def list_dsrs(query: DsrsQuery) -> Response:
        """List requests, newest first; by email rather with `POST /v1/dsr:search`."""
        return answer(page_shown(desk, query))

    @api.post("/v1/dsr:search", responses={200: DsrsPage})
    def search_dsrs(body: DsrSearch) -> Response:
        """List requests of a subject or a status, newest first."""
        return answer(page_shown(desk, body))

    @api.post("/v1/dsr:batchGet", responses={200: DsrsFound})
    def get_dsrs(body: DsrIds) -> Response:
        """Show several requests."""
        there = get_many(desk, body.ids, reach(Resource.DSR, Action.READ))
        known = {dsr.id for dsr in there}
        missing = [one for one in dict.fromkeys(body.ids) if one not in known]
        return answer({"items": all_shown(desk, there), "missing": missing})

    @api.get("/v1/dsr:atRisk", responses={200: DsrsAtRisk})
    def list_dsrs_at_risk(query: AtRiskQuery) -> Response:
        """List open requests that are due soon, or overdue, the soonest first."""
        return answer(at_risk_shown(desk, query))

    @api.get("/v1/dsr/<id:request_id>", responses={200: DsrInFull})
    def get_dsr(path: DsrPath) -> Response:
        """Show a request; who may approve requests sees its identities, masked."""
        return answer(one_shown(desk, path.request_id))

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
        """Let what is held go on, a request or the lake's part in it, or end it; not one's own."""
        within = reach(Resource.DSR, Action.APPROVE)
        verdict = Verdict(body.decision == "approve", body.reason)
        dsr = review(desk, path.request_id, within, principal().subject, verdict)
        return answer(shown(dsr, desk.clock()))


def _one_of_several(
    intake: Intake, item: NewDsr, submitter: Submitter, request_id: str
) -> Mapping[str, Any]:
    """What became of an item, as ``DsrBulkResult`` has it."""
    try:
        taken = intake.take(item, submitter, request_id)
    except RequestError as error:
        return _refused(error, intake.desk.clock())
    return {"status": 202, "result": taken, "error": None}


def _refused(error: RequestError, now: datetime) -> Mapping[str, Any]:
    """What is said of an item that was refused."""
    fault = fault_of(error)
    body = ErrorBody.model_validate(fault.body(correlation_id(), now))
    return DsrBulkResult(status=fault.status, error=body.error).model_dump(
        mode="json", by_alias=True
    )
