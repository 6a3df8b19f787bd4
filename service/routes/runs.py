"""Runs: what has been asked for and what came of it, their logs, and an end to them."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from runners.runs import as_seen, tell_to_end
from schemas.access import Action, Reach, Resource
from schemas.errors import Conflict, NotFound
from schemas.runs import RunCursor, RunQuery, RunRecord, RunStatus, shown_run
from service.answers import AnswerModel, RequestModel, answer
from service.bootstrap import Wiring
from service.context import reach
from service.openapi import feature
from service.paging import Page, PageModel, PageQuery, Place, write_cursor
from service.run_logs import MOST_BYTES, tail

_KIND = "runs"


class RunPath(BaseModel):
    """Which run."""

    run_id: str = Field(description="The run's id.")


class RunsQuery(PageQuery):
    """Which runs."""

    status: RunStatus | None = Field(default=None, description="Only those of this status.")


class LogQuery(RequestModel):
    """How much of a log."""

    bytes: Annotated[int, Field(ge=1, le=MOST_BYTES, description="From the end of the log.")] = (
        64 * 1024
    )


class RunErrorShown(AnswerModel):
    """Why a run failed."""

    code: str
    message: str | None


class RunShown(AnswerModel):
    """A run."""

    run_id: str
    kind: str = Field(description="The command: `deliver`, `enrich` ...")
    status: RunStatus
    queued_at: str
    started_at: str | None
    seen_at: str = Field(description="The last sign of life.")
    ended_at: str | None
    cancel_requested: bool
    schedule: str | None = Field(description="The scheduled job that started it.")
    job_id: str | None = Field(description="The request that it works for.")
    counts: dict[str, int]
    exit_status: int | None = Field(description="Negative for the signal that ended it.")
    version: int
    error: RunErrorShown | None = None


class RunsPage(PageModel):
    """Runs, newest first."""

    items: list[RunShown]


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature(_KIND, "Runs", "Executions of commands: status, log, cancel.")

    def seen(run: RunRecord) -> dict[str, Any]:
        return shown_run(as_seen(run, wiring.clock()))

    def visible(run_id: str, within: Reach) -> RunRecord:
        run = wiring.state.runs.visible(run_id, within)
        if run is None:
            raise NotFound("there is no run of this id")
        return run

    @api.get("/v1/runs", responses={200: RunsPage})
    def list_runs(query: RunsQuery) -> Response:
        """List runs, newest first."""
        within = reach(Resource.RUN, Action.READ)
        page = Page.of(wiring.state.runs.find(_asked(query), within), query.limit)
        return answer({"items": [seen(run) for run in page.items], "nextCursor": _next(page)})

    @api.get("/v1/runs/<id:run_id>", responses={200: RunShown})
    def get_run(path: RunPath) -> Response:
        """Show one run."""
        return answer(seen(visible(path.run_id, reach(Resource.RUN, Action.READ))))

    @api.post("/v1/runs/<id:run_id>:cancel", responses={202: RunShown})
    def cancel_run(path: RunPath) -> Response:
        """Ask a run to end; it does so soon, with nothing half-done."""
        run = visible(path.run_id, reach(Resource.RUN, Action.CANCEL))
        if not wiring.state.runs.request_cancel(run.id):
            raise Conflict(f"the run has ended: it is {run.status}", status=run.status)
        asked = wiring.state.runs.get(run.id) or run
        tell_to_end(asked)
        return answer(seen(asked), 202)

    @api.get("/v1/runs/<id:run_id>/log", responses={200: _LOG})
    def get_run_log(path: RunPath, query: LogQuery) -> Response:
        """Show the end of what a run said, from the beginning of a line."""
        run = visible(path.run_id, reach(Resource.RUN, Action.READ))
        return Response(tail(run, wiring.settings, query.bytes), mimetype="text/plain")

    return api


_LOG: dict[str, Any] = {
    "description": "The lines.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


def _asked(query: RunsQuery) -> RunQuery:
    place = query.place(_KIND)
    return RunQuery(
        limit=query.limit + 1,
        status=query.status,
        after=None if place is None else RunCursor(place.at, place.id),
        offset=query.offset,
    )


def _next(page: Page[RunRecord]) -> str | None:
    if not page.more:
        return None
    last = page.items[-1]
    return write_cursor(_KIND, Place(last.queued_at, last.id))
