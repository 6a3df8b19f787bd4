"""What the process of a job does: an enrichment, or requests that the lake answers.

    take the job ──> work, telling how far it is ──> end the job: completed, failed, cancelled
                 └── killed at any point: the job is queued again, and goes on where this ended

The dispatcher has made the job this run's before the process begins. Whatever changes the job says
which run it speaks for, so a process that the job was taken from changes nothing any more: it is
told by the next thing it says, and ends. Output and batches have names by the job alone, so a
later run finds what an earlier one has finished.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import structlog

from config.service import EnrichmentSection
from config.settings import Settings
from runners.choose import PipelineRunner, open_runner
from runners.engines.errors import EngineError
from runners.enrich import EnrichmentRequest, run_enrichment, suppressed_by
from runners.enrich_progress import JobProgress
from runners.lake_jobs import answer_by_lake
from runners.options import RunnerOptions, runner_options
from runners.progress import beside
from runners.runs import CANCEL, RUN_ID, RunCancelled, recorded_run, state_folder, state_of
from schemas.access import Reach
from schemas.contacts import EnrichmentPlan, EnrichmentReport
from schemas.dsr_lake import JOB_KIND
from schemas.errors import InputMissing, LetheError, StoreError, StoreFull, UsageError
from schemas.job_files import output_key
from schemas.jobs import Job, JobEnd, JobStatus
from stores.enrichment.api import check_url
from stores.enrichment.client import ApiSettings
from stores.enrichment.errors import ApiUnavailable
from stores.objects import S3Settings
from stores.parameters import open_parameters
from stores.state.service_port import JobStore
from transforms.contacts.suppress import SuppressedContacts

ADVANCE_EVERY = 0.25
"""Seconds between two times that the parts' progress is made the job's."""

_COUNTED = ("contacts", "enriched", "failed", "batches", "calls", "retries")

_log = structlog.get_logger()


class JobGone(LetheError):
    """The job is not this run's: it was deleted, cancelled or given to another one."""

    code = "job_gone"


@dataclass(frozen=True)
class JobRun:
    """A run of a job, as its process knows it."""

    job: Job
    run_id: str
    jobs: JobStore
    settings: Settings

    @property
    def is_last_attempt(self) -> bool:
        return self.job.attempts >= self.settings.service.enrichment.max_attempts

    def is_ended_by(self, error: LetheError) -> bool:
        """Whether no other attempt is to be made. An input that is missing will not come."""
        if isinstance(error, JobGone):
            return False
        is_worth_another = error.retryable and not isinstance(error, InputMissing)
        return self.is_last_attempt or not is_worth_another

    def advance(self) -> bool:
        """Make the parts' progress the job's; whether it is this run's still."""
        return self.jobs.advance(self.job.id, self.run_id) is not None

    def plan(self, contacts: int, batches: int) -> None:
        """Note what was found in the input. Raises ``JobGone``."""
        job = self.job
        if self.jobs.plan(job.id, self.run_id, job.fingerprint, contacts, batches) is None:
            raise JobGone(f"job {job.id} is not this run's any more")

    def end(self, status: JobStatus, error: LetheError | None = None) -> None:
        """End the job, with its output if it is completed; nothing if it is not this run's."""
        end = JobEnd(
            status,
            self._output if status is JobStatus.COMPLETED else None,
            None if error is None else error.code,
            None if error is None else said_to_clients(error, files_of(self.settings)),
        )
        if self.jobs.finish(self.job.id, self.run_id, end) is None:
            _log.warning("the job is not this run's any more", job=self.job.id)

    @property
    def _output(self) -> str | None:
        return None if self.job.kind == JOB_KIND else output_key(self.job)


def run_job(job_id: str, settings: Settings) -> None:
    """Do the work of a job, as the run that the environment names, and end the job.

    Raises ``LetheError``, and leaves the job as it is if trying again may help: whoever watches it
    decides. A job that is cancelled keeps nothing but what the sweep removes.
    """
    run_id = os.environ.get(RUN_ID)
    if run_id is None:
        raise UsageError("jobs are started by the service itself")
    with (
        open_runner(_place(settings.service.enrichment)) as runner,
        recorded_run("job", settings) as record,
        closing(state_of(settings)) as state,
    ):
        run = _taken(job_id, run_id, state.jobs, settings)
        with _ending(run), _advancing(run):
            if run.job.kind == JOB_KIND:
                counts = answer_by_lake(run.job, settings, state, runner)
            else:
                report = _enriched(run, runner)
                counts = {name: getattr(report, name) for name in _COUNTED}
        record.add(counts)


def files_of(settings: Settings) -> str:
    """Where the service's files are: a folder or an ``s3://`` place."""
    return settings.service.files or str(state_folder(settings) / "files")


def said_to_clients(error: LetheError, files: str) -> str:
    """What of an error's message is for whoever asked: not where files are, nor stores, engines."""
    if isinstance(error, ApiUnavailable):
        return "the enrichment API took no calls for too long: submit again when it is well"
    if isinstance(error, StoreFull):
        return "there is no room left for the output: submit again when there is"
    if isinstance(error, StoreError | EngineError):
        return "something that this needs has failed: submit again; the run's log says more"
    return error.message.replace(f"{files.rstrip('/')}/", "")


def _place(section: EnrichmentSection) -> RunnerOptions:
    """Where jobs run."""
    return runner_options(
        section.runner,
        section.workers,
        section.flink_master,
        section.spark_master,
        section.worker_pool,
    )


def _taken(job_id: str, run_id: str, jobs: JobStore, settings: Settings) -> JobRun:
    job = jobs.get(job_id, Reach(None))
    if job is None or job.run_id != run_id or job.status is not JobStatus.RUNNING:
        raise JobGone(f"job {job_id} is not this run's")
    return JobRun(job, run_id, jobs, settings)


@contextmanager
def _ending(run: JobRun) -> Iterator[None]:
    """End the job as the work inside ends, but for what may go better another time."""
    try:
        yield
    except RunCancelled:
        run.end(JobStatus.CANCELLED)
        raise
    except LetheError as error:
        if run.is_ended_by(error):
            run.end(JobStatus.FAILED, error)
        raise
    run.end(JobStatus.COMPLETED)


def _enriched(run: JobRun, runner: PipelineRunner) -> EnrichmentReport:
    def planned(plan: EnrichmentPlan) -> None:
        run.plan(plan.contacts, plan.batches)

    progress = JobProgress(run.settings, run.job.id)
    report = run_enrichment(_request(run.job, run.settings), runner, progress, planned)
    # A run that finds the output of an earlier one was not told what is in the input.
    run.plan(report.contacts, report.batches)
    return report


def _request(job: Job, settings: Settings) -> EnrichmentRequest:
    files, asked = files_of(settings).rstrip("/"), job.parameters
    return EnrichmentRequest(
        input=f"{files}/{job.input_key}",
        out=f"{files}/{output_key(job)}",
        api=_api(settings.service.enrichment),
        mapping=dict(asked.get("mapping", {})),
        batch_size=int(asked["batchSize"]),
        resume=True,
        workers=settings.service.enrichment.workers,
        s3=S3Settings.of(settings.s3),
        suppressed=_suppressed(settings),
    )


def _suppressed(settings: Settings) -> SuppressedContacts | None:
    lake = settings.service.enrichment.suppressed_by
    if lake is None:
        return None
    return suppressed_by(lake, open_parameters(settings.parameters), S3Settings.of(settings.s3))


def _api(section: EnrichmentSection) -> ApiSettings:
    if section.api is None:
        raise UsageError("no enrichment API is configured: set service.enrichment.api")
    return ApiSettings(
        url=check_url(section.api),
        concurrency=section.concurrency,
        timeout=section.timeout_seconds,
        rate=section.rate,
        patience=section.patience_seconds,
    )


@contextmanager
def _advancing(run: JobRun) -> Iterator[None]:
    """Have whoever watches the job see how far it is, while the work inside goes on."""
    with beside(lambda stop: _advance(run, stop)):
        yield


def _advance(run: JobRun, stop: threading.Event) -> None:
    while not stop.wait(ADVANCE_EVERY):
        try:
            if not run.advance():
                _log.warning("the job is not this run's any more", job=run.job.id)
                os.kill(os.getpid(), CANCEL)
                return
        except StoreError as error:
            _log.warning("progress is not told", code=error.code)
