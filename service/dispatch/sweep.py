"""The sweep: clears away what is past its time, now and then, beside the dispatcher's work.

Files are found from their own side, not from records: what no job that can be seen speaks of goes,
also what a process left that was killed half-way. Young files stay, as a request writes the
input before the job. Each step can be repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import structlog

from config.dsr import LakeSection
from runners.runs import prune_runs
from schemas.access import Reach
from schemas.errors import LetheError
from schemas.job_files import JOBS
from schemas.jobs import Job
from service.enrichment.uploads import Uploads
from service.errors import places_of
from stores.exports import sweep_archives, sweep_records
from stores.objects import ObjectInfo, ObjectStore, S3Settings, open_store
from stores.state.port import State
from stores.state.service_port import ServiceState

SWEEP_EVERY = timedelta(hours=1)

YOUNG = timedelta(hours=1)
"""How long a file is left alone whatever speaks of it."""

_IN_SIGHT = 10_000
"""Unfinished jobs that can be looked at; with more, nothing is removed for want of a job."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Kept:
    """How long things are kept after their end."""

    jobs: timedelta
    runs: timedelta


class Sweep:
    """Removes files and records. Made for one thread."""

    def __init__(
        self,
        state: State,
        service: ServiceState,
        files: ObjectStore,
        uploads: Uploads,
        kept: Kept,
        clock: Callable[[], datetime],
    ) -> None:
        self._state = state
        self._service = service
        self._files = files
        self._uploads = uploads
        self._kept = kept
        self._clock = clock

    def __call__(self) -> None:
        """Once through everything. Raises ``StoreError``."""
        now = self._clock()
        self._service.prune(now)
        prune_runs(self._state, now - self._kept.runs)
        self._service.jobs.prune(now - self._kept.jobs)
        unfinished = self._service.jobs.unfinished(_IN_SIGHT)
        if len(unfinished) < _IN_SIGHT:
            self._uploads.sweep(frozenset(job.input_key for job in unfinished))
            self._remove_files(frozenset(job.id for job in unfinished))

    def _remove_files(self, unfinished: frozenset[str]) -> None:
        before = self._clock() - YOUNG
        for job_id, infos in groupby(self._files.list(JOBS), _job_of):
            if job_id in unfinished:
                continue
            job = self._service.jobs.get(job_id, Reach(None))
            for info in list(_unused(job, infos)):
                if info.modified < before:
                    self._files.delete(info.key)


def sweep_exports(section: LakeSection, s3: S3Settings, now: datetime) -> None:
    """Remove archives of subjects' rows that have expired, and what the lake knows of them.

    Raises ``StoreError`` if a store cannot be reached.
    """
    if section.uri is not None:
        sweep_records(open_store(section.uri, s3), s3, now)
    if section.export_to is not None:
        sweep_archives(open_store(section.export_to, s3), now)


class Recurring:
    """Has ``work`` done in a thread of its own, when it is due and the last time is over."""

    def __init__(
        self, work: Callable[[], object], every: timedelta, clock: Callable[[], datetime]
    ) -> None:
        self._work = work
        self._every = every
        self._clock = clock
        self._due_at = clock()
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Begin if it is time; returns at once."""
        if self._clock() < self._due_at or (self._thread is not None and self._thread.is_alive()):
            return
        self._due_at = self._clock() + self._every
        self._thread = threading.Thread(target=self._guarded, daemon=True, name="sweep")
        self._thread.start()

    def _guarded(self) -> None:
        try:
            self._work()
        except LetheError as error:
            _log.warning("not all was swept", code=error.code)
        except Exception as error:
            # The thread would print it, with what it says, where logs have lines in JSON.
            _log.error("a sweep failed", error=type(error).__name__, places=places_of(error))


def _job_of(info: ObjectInfo) -> str:
    return info.key.removeprefix(JOBS).partition("/")[0]


def _unused(job: Job | None, infos: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Of a job that has ended only the output is used, of one out of sight nothing."""
    for info in infos:
        if job is None or info.key != job.output_key:
            yield info
