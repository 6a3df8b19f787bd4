"""Stream: a delivery without end on an engine, started, watched, and started again.

The delivery log knows what was delivered, row by row. So an engine's job is expendable: whatever
ends it, the next one begins at the log's positions, and nothing is lost or there twice. Within
one job the engine's own checkpoints spare it from reading anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apache_beam as beam
import grpc
import structlog

from beam_pipelines.stream import StreamDestination, deliver_stream
from runners.alive import HEARTBEAT_EVERY
from runners.choose import started_job
from runners.deliver import Delivery, begin_run, prepare_lake
from runners.engines.errors import EngineError, EngineUnreachable
from runners.engines.jobs import Job, JobState
from runners.erase_late import LateRows
from runners.options import RunnerOptions
from runners.plan_streams import StreamInput
from runners.stalls import StallWatch, patience_for
from schemas.errors import LetheError
from stores.log import STREAM, DeliveryLog, Positions, Run
from stores.stream_log import LogSaysEnded, StreamView
from transforms.kinesis import KinesisSource
from transforms.read_stream import ReadStream
from transforms.rotate import Windowing

WATCH_EVERY = 1.0
"""Seconds between two looks at the job."""

SAY_EVERY = 30.0
"""Seconds between two log lines about it."""

PATIENCE = 60.0
"""Seconds that an engine may be out of reach, or a cancelled job may take to end."""

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds before a job that failed is started again; doubled each time it fails soon after."""

STEADY = 300.0
"""Seconds after which a job that runs counts as one that had started well."""

_log = structlog.get_logger()


class JobFailed(EngineError):
    """The engine gave a job up; started again, it goes on from the log."""

    code = "job_failed"
    retryable = True


def run_stream(
    delivery: Delivery, options: RunnerOptions, windowing: Windowing, stop: threading.Event
) -> None:
    """Deliver the streams until ``stop`` is set; jobs that the engine gives up are started again.

    Raises ``LetheError`` if the engine or a stream cannot be had at the start, or if trying again
    is no use.
    """
    pause, failures = FIRST_PAUSE, 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            _run_job(delivery, options, windowing, stop)
        except LetheError as error:
            lasted = time.monotonic() - began
            if not error.retryable or (failures == 0 and _never_began(error, lasted)):
                raise
            failures, pause = failures + 1, FIRST_PAUSE if lasted >= STEADY else pause
            _log.warning("the job ended", code=error.code, again_in_seconds=pause)
            stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    # A job that outlived its run for a while may have staged more after that was cleared.
    DeliveryLog(delivery.store).recover()


def _never_began(error: LetheError, lasted: float) -> bool:
    """Whether the engine was never there; of one that was, absence is borne for ``PATIENCE``."""
    return isinstance(error, EngineUnreachable) and lasted < PATIENCE


def _run_job(
    delivery: Delivery, options: RunnerOptions, windowing: Windowing, stop: threading.Event
) -> None:
    """One job, from the log's positions to its end."""
    log = DeliveryLog(delivery.store)
    prepare_lake(log, delivery)
    known = log.positions()
    run = begin_run(log, delivery, known, STREAM)
    destination = StreamDestination(delivery.store, delivery.output, run, windowing)
    sources = [_source(delivery, stream, known) for stream in delivery.streams]
    patience = patience_for(delivery.rules.partitioning.window or 0, windowing.idle)
    with _ended_run(log, run):
        _check(sources)

        def build(pipeline: beam.Pipeline) -> None:
            deliver_stream(pipeline, AllStreams(sources), delivery.rules, destination)

        with started_job(options, build) as job:
            _log.info("delivering", job=job.id, run=run.run_id)
            try:
                _watch(_Watch(job, log, run, patience, _late_rows(delivery)), stop)
            finally:
                _end(job)


def _late_rows(delivery: Delivery) -> LateRows:
    rules = delivery.rules
    return LateRows(delivery.store, rules.scrub_key, rules.registry)


def _check(sources: Sequence[KinesisSource]) -> None:
    """Raises what a stream cannot be read for here, where people see it."""
    for source in sources:
        source.split(1)


class AllStreams(beam.PTransform):
    """Blocks of all streams of a delivery."""

    def __init__(self, sources: Sequence[KinesisSource]) -> None:
        super().__init__()
        self._sources = sources

    def expand(self, begin: Any) -> Any:
        parts: Sequence[Any] = [
            begin | f"Read{number}" >> ReadStream(source)
            for number, source in enumerate(self._sources)
        ]
        return parts[0] if len(parts) == 1 else parts | beam.Flatten()


def _source(delivery: Delivery, stream: StreamInput, known: Positions) -> KinesisSource:
    states = known.shards.items()
    return KinesisSource(
        stream.address,
        stream.start,
        {source: state.through for source, state in states if state.through is not None},
        delivery.on_gap,
        LogSaysEnded(delivery.store),
    )


@contextmanager
def _ended_run(log: DeliveryLog, run: Run) -> Iterator[None]:
    """Whatever happens, the run ends: what it committed is published, the rest is cleared.

    A job that is still alive somewhere finds itself ended, and cannot commit any more.
    """
    try:
        yield
    finally:
        log.abandon(run)


def _watch(watch: _Watch, stop: threading.Event) -> None:
    """Look after the job until ``stop`` is set. Raises ``JobFailed`` if it ends or is stuck."""
    while not stop.wait(WATCH_EVERY):
        watch.check()
        watch.say()


def _end(job: Job) -> None:
    """Cancel the job, and wait until it has ended; one that does not, cannot commit any more."""
    deadline = time.monotonic() + PATIENCE
    with suppress(LetheError, grpc.RpcError):
        job.cancel()
        while not job.state().ended and time.monotonic() < deadline:
            time.sleep(WATCH_EVERY / 5)


class _Watch:
    """What is known of a job, and of what it has committed."""

    def __init__(
        self, job: Job, log: DeliveryLog, run: Run, patience: float, late: LateRows
    ) -> None:
        self._late = late
        self._job = job
        self._log = log
        self._run = run
        self._reached = self._said = self._beaten = time.monotonic()
        self._view = StreamView(log)
        self._view.catch_up()
        self._stalls = StallWatch(patience)

    def check(self) -> None:
        """Raises ``JobFailed`` if the engine has given the job up."""
        if self.state().ended:
            raise JobFailed(f"the engine ended job {self._job.id}: its own log says why")

    def state(self) -> JobState:
        """The job's state; the engine may be out of reach for a moment."""
        try:
            state = self._job.state()
        except EngineUnreachable:
            if time.monotonic() - self._reached > PATIENCE:
                raise
            return JobState.RESTARTING
        except (EngineError, grpc.RpcError):
            # Flink's job manager came back without its jobs; or Prism, which is our own, is gone.
            return JobState.FAILED
        self._reached = time.monotonic()
        return state

    def say(self) -> None:
        """Tell others that the run is alive, and people what it has done lately.

        Raises ``JobFailed`` if something it has read is missing for too long.
        """
        now = time.monotonic()
        if now - self._beaten >= HEARTBEAT_EVERY:
            self._log.heartbeat(self._run)
            self._beaten = now
        if now - self._said >= SAY_EVERY:
            self._say_commits()
            self._late.cleanse(self._view.cleanliness)
            self._said = now

    def _say_commits(self) -> None:
        commits = [c for c in self._view.catch_up() if c.run_id == self._run.run_id]
        _log.info(
            "delivering",
            commits=len(commits),
            delivered=sum(commit.counts["delivered"] for commit in commits),
            dead_letters=sum(commit.counts["dead_letters"] for commit in commits),
        )
        stalled = self._stalls.stalled(self._view.states, time.monotonic())
        if stalled:
            raise JobFailed(f"{stalled[0]}: the job does not deliver what it has read of this")
