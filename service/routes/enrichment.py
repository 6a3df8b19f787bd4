"""Enrichment: submit contacts, watch them being enriched, fetch the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from schemas.access import Action, Principal, Resource
from schemas.errors import Conflict, NotFound, RequestError, TooLarge
from schemas.jobs import Job, JobCursor, JobQuery, JobStatus
from service.answers import answer, conditional
from service.bootstrap import Wiring
from service.context import correlation_id, principal, reach, traceparent
from service.enrichment.outputs import MEDIA_TYPES, output_response
from service.enrichment.shown import (
    Accepted,
    BulkAnswer,
    BulkResult,
    EnrichmentShown,
    EnrichmentsPage,
    NewEnrichment,
    NewEnrichments,
    accepted,
    shown,
    status_of,
)
from service.enrichment.submit import KIND, Order, Submissions
from service.enrichment.uploads import Uploads
from service.errors import ErrorBody, fault_of
from service.idempotency import Attempt
from service.openapi import feature
from service.paging import Page, PageQuery, Place, write_cursor


class EnrichmentPath(BaseModel):
    """Which enrichment."""

    request_id: str = Field(description="The `requestId`.")


class EnrichmentsQuery(PageQuery):
    """Which enrichments."""

    status: JobStatus | None = Field(default=None, description="Only those of this status.")


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature(KIND, "Enrichment", "Contacts, enriched by an API: submit, watch, fetch.")
    section, jobs, files = wiring.settings.service.enrichment, wiring.state.jobs, wiring.files
    uploads = Uploads(files, section, wiring.clock)
    submissions = Submissions(jobs, files, uploads, section, wiring.clock)

    @api.post("/v1/enrichment", responses={200: Accepted, 202: Accepted})
    def submit_enrichment(body: NewEnrichment) -> Response:
        """Have contacts enriched; 200 if the same ones are, or were, for an earlier request."""
        asker = _asker()
        attempt = wiring.idempotency.attempt(request, asker)

        def work() -> Response:
            submitted = submissions.submit(body.order(traceparent()), asker, attempt.created_id())
            location = {"Location": f"/v1/enrichment/{submitted.job.id}"}
            return answer(accepted(submitted), status_of(submitted), location)

        return wiring.idempotency.once(attempt, work)

    @api.post("/v1/enrichment:bulk", responses={202: BulkAnswer, 207: BulkAnswer})
    def submit_enrichments(body: NewEnrichments) -> Response:
        """Have several lots of contacts enriched: all or none of them, or each on its own."""
        asker = _asker()
        attempt = wiring.idempotency.attempt(request, asker)
        orders = [item.order(traceparent()) for item in body.items]
        _check_total(orders, section.max_contacts)

        def work() -> Response:
            if body.atomic:
                return _all_or_none(submissions, orders, asker, attempt)
            results = [
                _one(submissions, order, asker, attempt.created_id(index), wiring)
                for index, order in enumerate(orders)
            ]
            return answer(BulkAnswer(results=results), 207)

        return wiring.idempotency.once(attempt, work)

    @api.get("/v1/enrichment", responses={200: EnrichmentsPage})
    def list_enrichments(query: EnrichmentsQuery) -> Response:
        """List enrichments, newest first."""
        found = jobs.find(_asked(query), reach(Resource.ENRICHMENT, Action.READ))
        page = Page.of(found, query.limit)
        return answer({"items": [shown(job) for job in page.items], "nextCursor": _next(page)})

    @api.get("/v1/enrichment/<id:request_id>", responses={200: EnrichmentShown, 304: None})
    def get_enrichment(path: EnrichmentPath) -> Response:
        """Show how far an enrichment is; with `If-None-Match` only if it has changed."""
        job = _visible(wiring, path.request_id, Action.READ)
        response = answer(shown(job))
        response.set_etag(f"{job.id}-{job.version}")
        return conditional(response, request.environ)

    @api.get("/v1/enrichment/<id:request_id>/output", responses=_OUTPUT)
    def get_enrichment_output(path: EnrichmentPath) -> Response:
        """Fetch the result, or a range of its bytes; where it lies on S3, by a redirect."""
        job = _visible(wiring, path.request_id, Action.READ)
        return output_response(job, files, request, section.url_seconds)

    @api.post("/v1/enrichment/<id:request_id>:cancel", responses={202: EnrichmentShown})
    def cancel_enrichment(path: EnrichmentPath) -> Response:
        """Ask an enrichment to end; a queued one ends at once, a running one soon."""
        within = reach(Resource.ENRICHMENT, Action.CANCEL)
        job = jobs.request_cancel(path.request_id, within, at_once=True)
        if job is None:
            ended = _found(jobs.get(path.request_id, within))
            message = f"the request has ended: it is {ended.status}"
            raise Conflict(message, status=ended.status.value)
        return answer(shown(job), 202)

    @api.delete("/v1/enrichment/<id:request_id>", responses={204: None})
    def delete_enrichment(path: EnrichmentPath) -> Response:
        """Take an enrichment out of sight, and end it if it runs; its files go a little later."""
        if not jobs.delete(path.request_id, reach(Resource.ENRICHMENT, Action.DELETE)):
            raise _nothing()
        return Response(status=204)

    return api


_OUTPUT: dict[int | str, Any] = {
    200: {
        "description": "The result.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in MEDIA_TYPES.values()
        },
    },
    206: {"description": "The bytes that were asked for."},
    302: {"description": "Where the result can be fetched, for a while."},
    304: None,
    409: ErrorBody,
    416: ErrorBody,
}


def _asker() -> Principal:
    """Whoever submits. Raises ``Forbidden`` if they may not."""
    reach(Resource.ENRICHMENT, Action.CREATE)
    return principal()


def _check_total(orders: Sequence[Order], limit: int) -> None:
    total = sum(len(order.contacts or ()) for order in orders)
    if total > limit:
        raise TooLarge(f"items: at most {limit:,} contacts in a request: upload files", limit=limit)


def _all_or_none(
    submissions: Submissions, orders: Sequence[Order], asker: Principal, attempt: Attempt
) -> Response:
    ids = [attempt.created_id(index) for index in range(len(orders))]
    done = submissions.submit_all(orders, asker, ids)
    results = [BulkResult(status=status_of(one), result=accepted(one)) for one in done]
    return answer(BulkAnswer(results=results), 202)


def _one(
    submissions: Submissions, order: Order, asker: Principal, job_id: str, wiring: Wiring
) -> BulkResult:
    """What becomes of one item; what is wrong with it concerns no other."""
    try:
        done = submissions.submit(order, asker, job_id)
    except RequestError as error:
        fault = fault_of(error)
        body = ErrorBody.model_validate(fault.body(correlation_id(), wiring.clock()))
        return BulkResult(status=fault.status, error=body.error)
    return BulkResult(status=status_of(done), result=accepted(done))


def _visible(wiring: Wiring, job_id: str, action: Action) -> Job:
    return _found(wiring.state.jobs.get(job_id, reach(Resource.ENRICHMENT, action)))


def _found(job: Job | None) -> Job:
    if job is None or job.kind != KIND:
        raise _nothing()
    return job


def _nothing() -> NotFound:
    return NotFound("there is no enrichment of this id")


def _asked(query: EnrichmentsQuery) -> JobQuery:
    place = query.place(KIND)
    return JobQuery(
        kind=KIND,
        status=query.status,
        limit=query.limit + 1,
        after=None if place is None else JobCursor(place.at, place.id),
        offset=query.offset,
    )


def _next(page: Page[Job]) -> str | None:
    if not page.more:
        return None
    last = page.items[-1]
    return write_cursor(KIND, Place(last.created_at, last.id))
