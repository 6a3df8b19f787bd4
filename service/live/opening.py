"""Reads what a watch begins with: the state as it is, or what came after what the client knows.

To be called when updates are being told already, so that none falls in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from schemas.access import Action, Principal, Reach, Resource
from schemas.dsr import Dsr, DsrQuery, shown_dsr
from schemas.events import StoredEvent
from schemas.jobs import Job, JobQuery, shown_job
from schemas.runs import RunQuery, RunRecord, shown_run
from service.live.hub import is_within
from service.live.messages import State, Update, Watched
from service.live.watches import Begun, BegunAll, Missing, Opening, Resumed
from stores.state.port import RunStore
from stores.state.service_port import JobStore, Outbox, Stores

NEWEST = 100
"""Things in the snapshot of all of a kind; older ones are listed by the HTTP API."""

MOST_MISSED = 500
"""Events that are read again for a client that comes back; for more it begins anew."""

_ENRICHMENT = "enrichment"


@dataclass(frozen=True)
class Source:
    """A kind of things: the right that reading them needs, and how they are read."""

    resource: Resource
    get: Callable[[str, Reach], State | None]
    newest: Callable[[Reach], Sequence[State]]


def sources(state: Stores) -> Mapping[str, Source]:
    """What can be watched, by kind."""
    return {"job": _jobs(state.jobs), "run": _runs(state.runs), "dsr": _requests(state)}


def _jobs(jobs: JobStore) -> Source:
    query = JobQuery(_ENRICHMENT, limit=NEWEST)

    def get(job_id: str, reach: Reach) -> State | None:
        job = jobs.get(job_id, reach)
        return None if job is None else _state_of_job(job)

    return Source(
        Resource.ENRICHMENT, get, lambda reach: [*map(_state_of_job, jobs.find(query, reach))]
    )


def _runs(runs: RunStore) -> Source:
    query = RunQuery(limit=NEWEST)

    def get(run_id: str, reach: Reach) -> State | None:
        run = runs.visible(run_id, reach)
        return None if run is None else _state_of_run(run)

    return Source(Resource.RUN, get, lambda reach: [*map(_state_of_run, runs.find(query, reach))])


def _requests(state: Stores) -> Source:
    query = DsrQuery(limit=NEWEST)

    def get(request_id: str, reach: Reach) -> State | None:
        dsr = state.dsr.get(request_id, reach)
        return None if dsr is None else _state_of_request(dsr)

    return Source(
        Resource.DSR, get, lambda reach: [*map(_state_of_request, state.dsr.find(query, reach))]
    )


def _state_of_job(job: Job) -> State:
    return State(Watched("job", job.id), job.version, shown_job(job))


def _state_of_run(run: RunRecord) -> State:
    return State(Watched("run", run.id), run.version, shown_run(run))


def _state_of_request(dsr: Dsr) -> State:
    return State(Watched("dsr", dsr.id), dsr.version, shown_dsr(dsr))


class Reader:
    """Reads openings, for principals, within their reach."""

    def __init__(self, sources: Mapping[str, Source], outbox: Outbox) -> None:
        self._sources = sources
        self._outbox = outbox

    def reach(self, principal: Principal, watched: Watched) -> Reach:
        """How far they may watch things of this kind. Raises ``Forbidden``."""
        return principal.reach(self._sources[watched.kind].resource, Action.READ)

    def read(
        self, watched: Watched, after: int | None, reach: Reach, place: int
    ) -> Opening | Missing:
        """What a watch begins with; updates after ``place`` are being told already.

        Raises ``StoreError`` and ``StoreUnavailable``.
        """
        if watched.id is None:
            return self._all(watched, after, reach, place)
        return self._one(watched, after, reach)

    def _one(self, watched: Watched, after: int | None, reach: Reach) -> Opening | Missing:
        state = self._sources[watched.kind].get(watched.topic.id, reach)
        if state is None:
            return Missing()
        if after is None or after > state.version:
            return Begun(state)
        return self._missed(watched, after, state.version) or Begun(state)

    def _missed(self, watched: Watched, after: int, version: int) -> Resumed | None:
        """What came in between, if all of it is still kept."""
        if version - after > MOST_MISSED:
            return None
        events = self._outbox.of(watched.topic, after, MOST_MISSED)
        versions = [event.version for event in events]
        last = after + len(events)
        if last < version or versions != [*range(after + 1, last + 1)]:
            return None
        return Resumed(tuple(Update(event) for event in events), last)

    def _all(self, watched: Watched, after: int | None, reach: Reach, place: int) -> Opening:
        missed = None if after is None else self._missed_of_all(watched, after, reach, place)
        return missed or BegunAll(place, tuple(self._sources[watched.kind].newest(reach)))

    def _missed_of_all(
        self, watched: Watched, after: int, reach: Reach, place: int
    ) -> Resumed | None:
        """What came up to ``place``, if the event that the client saw last is still kept.

        Another process may have told it of more than this one has come to yet.
        """
        events = self._outbox.after(after - 1, MOST_MISSED) if after else []
        if not events or events[0].place != after:
            return None
        if events[-1].place < place and len(events) == MOST_MISSED:
            return None
        missed = [e for e in events[1:] if e.place <= place and _concerns(e, watched, reach)]
        return Resumed(tuple(Update(e.event, e.place) for e in missed), max(after, place))


def _concerns(stored: StoredEvent, watched: Watched, reach: Reach) -> bool:
    return stored.event.topic.kind == watched.kind and is_within(stored.event, reach)
