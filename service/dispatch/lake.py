"""The lake's part in requests, as jobs: what waits is put together, what was lost is found.

    waiting requests of one organization ──> one job, when no other is under way
    a job that ended, or is gone ──> requests that it left: parked, for operators to see

There is one such job at a time, so that what comes while it runs is answered together by the next
one. Should two be made at once, each request is taken by one of them.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from dsr.changing import change
from dsr.desk import Desk
from dsr.lake import is_due, parked, parked_alert
from schemas.access import Reach
from schemas.alerts import Alert
from schemas.dsr import Dsr
from schemas.dsr_lake import JOB_KIND, REQUESTS, UNDER_WAY, LakeState
from schemas.jobs import Job, JobQuery, JobStatus
from stores.state.service_port import JobStore

ACTOR = "lake"

NOBODYS = "lethe:lake"
"""The organization and owner of these jobs; no principal can be of that name."""

PAUSE = timedelta(minutes=1)
"""After a job that failed: what waits may be waiting for the same reason."""

_AT_ONCE = 1000
_EVERYWHERE = Reach(None)
_log = structlog.get_logger()


class LakeJobs:
    """Makes jobs of requests, of ``most`` at once. ``tell`` tells operators what cannot be done.

    For one thread, of the process that dispatches.
    """

    def __init__(
        self, desk: Desk, jobs: JobStore, most: int, tell: Callable[[Alert], bool]
    ) -> None:
        self._desk = desk
        self._jobs = jobs
        self._most = most
        self._tell = tell
        self._silent_until: datetime | None = None

    def __call__(self) -> None:
        """One look at what there is to do. Raises ``StoreError``."""
        if self._left_under_way():
            return
        now = self._desk.clock()
        # More than are taken: those that were put off are no reason for others to wait.
        waiting = self._desk.requests.at_lake({LakeState.WAITING}, _AT_ONCE)
        ready = [dsr for dsr in waiting if is_due(dsr, now)]
        if ready and self._may_add():
            first = ready[0].organization
            self._add([dsr for dsr in ready if dsr.organization == first][: self._most])

    def _left_under_way(self) -> bool:
        """Whether a job is at some; those of a job that is over are parked."""
        requests = self._desk.requests.at_lake(UNDER_WAY, _AT_ONCE)
        ids = {dsr.lake.job_id for dsr in requests if dsr.lake is not None}
        jobs = {one: self._jobs.get(str(one), _EVERYWHERE) for one in ids}
        for dsr in requests:
            if dsr.lake is not None:
                self._park_if_lost(dsr, str(dsr.lake.job_id), jobs[dsr.lake.job_id])
        return any(job is not None and not job.status.is_final for job in jobs.values())

    def _park_if_lost(self, dsr: Dsr, job_id: str, job: Job | None) -> None:
        if job is not None and not job.status.is_final:
            return
        code, message = _why_left(dsr, job)
        if not self._is_told(parked_alert(dsr, job_id, code, self._desk.clock())):
            return  # Nothing is parked before somebody could be told.
        decide = partial(parked, job_id=job_id, code=code, message=message)
        change(self._desk, dsr.id, _EVERYWHERE, ACTOR, decide)
        _log.error("the lake could not answer a request", request=dsr.id, job=job_id, code=code)

    def _is_told(self, alert: Alert) -> bool:
        """Tell it; for a while after one that could not be told, nothing is.

        Nobody starts jobs meanwhile: whoever does not answer is not waited for again and again.
        """
        now = self._desk.clock()
        if self._silent_until is not None and now < self._silent_until:
            return False
        is_told = self._tell(alert)
        self._silent_until = None if is_told else self._desk.clock() + PAUSE
        return is_told

    def _may_add(self) -> bool:
        """Whether the last job is over; for a while after one that failed none is made."""
        newest = self._jobs.find(JobQuery(JOB_KIND, limit=1), _EVERYWHERE)
        if not newest or newest[0].status is JobStatus.COMPLETED:
            return True
        ended_at = newest[0].ended_at
        return ended_at is not None and self._desk.clock() - ended_at >= PAUSE

    def _add(self, requests: Sequence[Dsr]) -> None:
        now, ids = self._desk.clock(), [dsr.id for dsr in requests]
        job = Job(
            id=uuid.uuid4().hex,
            kind=JOB_KIND,
            organization=NOBODYS,
            owner=NOBODYS,
            fingerprint=hashlib.sha256("\n".join(ids).encode()).hexdigest(),
            status=JobStatus.QUEUED,
            created_at=now,
            updated_at=now,
            input_key="",
            parameters={REQUESTS: ids},
        )
        self._jobs.add([job])
        _log.info("requests wait for the lake", job=job.id, requests=len(ids))


def _why_left(dsr: Dsr, job: Job | None) -> tuple[str, str]:
    """Why a job left a request: what it said of that, or how it ended."""
    if dsr.lake is not None and dsr.lake.reason is not None:
        code, _, message = dsr.lake.reason.partition(": ")
        return code, message
    if job is None:
        return "job_gone", "the job that was at it is gone"
    if job.status is JobStatus.CANCELLED:
        return "cancelled", "the job that was at it was cancelled"
    return job.error_code or "job_gone", job.error_message or "the job that was at it is over"
