"""Progress of an enrichment that a job asked for: into the state store, from every worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from config.settings import Settings
from runners.runs import state_of
from schemas.errors import StoreError
from schemas.jobs import PartProgress
from stores.state.service_port import JobStore
from transforms.contacts.progress import Reporter

WRITE_EVERY = 0.25
"""Seconds between two rounds of writes of one worker."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class JobProgress:
    """Progress of the job ``job_id``; each worker opens the state store that ``settings`` name."""

    settings: Settings
    job_id: str

    def reporter(self) -> Reporter:
        state = state_of(self.settings)
        jobs = state.jobs
        return JobReporter(jobs, self.job_id, state.close)


class JobReporter:
    """Reports to the store a few times a second, by a thread of its own, and at the end.

    A store that does not answer is tried again with the next round; at the end, with a warning, it
    is let be: the output does not depend on what is told of it.
    """

    def __init__(
        self,
        jobs: JobStore,
        job_id: str,
        close: Callable[[], None],
        sleep: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._close = close
        self._sleep = sleep
        self._lock = threading.Lock()
        self._waiting: dict[int, PartProgress] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, daemon=True, name="job-progress")
        self._thread.start()

    def report(self, progress: PartProgress) -> None:
        with self._lock:
            self._waiting[progress.part] = progress

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._write()
        self._close()

    def _write_on(self) -> None:
        while not self._sleep(self._ended, WRITE_EVERY):
            self._write()

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for part in list(waiting):
            try:
                self._jobs.report(self._job_id, waiting[part])
            except StoreError as error:
                _log.warning("progress is not told", code=error.code)
                break
            del waiting[part]
        with self._lock:
            self._waiting = {**waiting, **self._waiting}
