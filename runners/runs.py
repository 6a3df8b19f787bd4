"""Recording runs: what is done, by which process, and how it ended, in the state store.

    with DirectRunner(workers) as runner, recorded_run("deliver", settings) as run:
        done = run_round(delivery, runner, console)
        run.add(counts_of(done))

Loading the state store takes longer than a small delivery, so a thread does it beside the work.
Enter ``recorded_run`` when all forking is done, that is after ``DirectRunner`` was made. A record
that cannot be written is a warning; it never fails the run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import typer

from schemas.errors import LetheError, StoreError
from schemas.runs import RunEnd, RunOwner, RunRecord, RunStatus
from stores.log import Owner, new_run_id

if TYPE_CHECKING:
    from config.settings import Settings
    from runners.report import Report
    from stores.state.port import State
    from stores.state.service_port import Stores

RUN_ID = "LETHE_RUN_ID"
"""The variable by which a scheduler tells a process which run it is."""

CANCEL = signal.SIGUSR1
"""The signal that ends a run. SIGINT will not do: shells have background commands ignore it."""

INTERRUPTED = 130
"""Exit status of a cancelled run."""

WATCH_EVERY = 1.0
"""Seconds between two looks for a request to cancel."""

BEAT_EVERY = 15.0
"""Seconds between two signs of life."""

SILENT_FOR = timedelta(minutes=2)
"""After so long without a sign of life, a run on another machine is taken for lost."""

_BEGIN_AFTER = 0.5
"""Seconds after which a run is recorded. Loading the store takes a quarter of a second of this
process, which until then has a pipeline to build, and later waits for its workers."""

_HELD_AT_MOST = 10.0
"""Seconds that a run holds its record back."""

_END_WITHIN = 10.0
"""Seconds that a run's end waits for its record to be written."""

_COUNTED = (
    "read", "delivered", "dead_letters", "filtered", "suppressed", "parked", "inputs", "files",
    "bytes",
)  # fmt: skip

_log = structlog.get_logger()


class RunCancelled(BaseException):
    """Raised in the main thread of a run that is asked to end. Beam wants it to have a message."""


@dataclass(frozen=True)
class RunTicket:
    """Which run this is. ``given`` says that a scheduler has made its record already."""

    id: str
    kind: str
    given: bool


class RunRecorder:
    """The record of the run under way."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._is_free = threading.Event()
        self._is_free.set()

    def hold(self) -> None:
        """Keep the record from being begun, for some seconds at most, until ``release``.

        For work of this thread that gives the interpreter away at every step, and would wait for
        the state store's loading each time.
        """
        self._is_free.clear()

    def release(self) -> None:
        """Let the record be begun."""
        self._is_free.set()

    def wait_for_release(self) -> None:
        self._is_free.wait(_HELD_AT_MOST)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add what a round did to the run's counts."""
        self._counts = self._counts + Counter(counts)

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._counts)


def counts_of(report: Report) -> dict[str, int]:
    """The counts of a report that are worth a record."""
    found = asdict(report)
    return {name: found[name] for name in _COUNTED}


@contextmanager
def recorded_run(
    kind: str, settings: Settings, open_state: Callable[[Settings], State] | None = None
) -> Iterator[RunRecorder]:
    """Record the work inside as a run of the command ``kind``.

    An exception ends the run as failed - with the code and message of a ``LetheError``, the status
    of a ``typer.Exit`` - or as cancelled if it came from outside, and goes on. If the run is
    cancelled by ``lethe runs cancel``, ``RunCancelled`` is raised inside, in the main thread, and
    leaves as ``typer.Exit(130)``: inside, let nothing catch ``BaseException`` for good.
    """
    recorder = RunRecorder()
    watch = _Watch(_ticket(kind), recorder, settings, open_state or state_of)
    with _raised_on_cancel() as cancelling:
        watch.start()
        try:
            yield recorder
        except BaseException as error:
            cancelling.over = True
            watch.end(end_of(error))
            if isinstance(error, RunCancelled):
                print("cancelled: nothing half-done was left", file=sys.stderr)
                raise typer.Exit(INTERRUPTED) from None
            raise
        cancelling.over = True
        watch.end(RunEnd(RunStatus.SUCCEEDED, 0))


def end_of(error: BaseException) -> RunEnd:
    """How a run ended that raised this; without the message of an error that nobody vouches for."""
    if isinstance(error, LetheError):
        return RunEnd(RunStatus.FAILED, error.exit_status, error.code, error.message)
    if isinstance(error, typer.Exit):
        return RunEnd(RunStatus.FAILED if error.exit_code else RunStatus.SUCCEEDED, error.exit_code)
    if isinstance(error, Exception):
        return RunEnd(RunStatus.FAILED, 1, "mistake", f"{type(error).__name__}: a mistake in Lethe")
    return RunEnd(RunStatus.CANCELLED, INTERRUPTED)


def state_of(settings: Settings) -> Stores:
    """The state store that the settings name. Raises ``UsageError`` and ``StoreError``."""
    from stores.state.opening import open_stores

    url = settings.state.url
    if url is not None:
        return open_stores(url.get_secret_value())
    return open_stores(f"sqlite:///{state_folder(settings) / 'state.db'}")


def state_folder(settings: Settings) -> Path:
    return settings.state.folder.expanduser().absolute()


def owner_here() -> RunOwner:
    """This process."""
    return owner_of(os.getpid())


def holder_here() -> str:
    """This process as the holder of leases: a name unlike any other's."""
    owner = owner_here()
    return f"{owner.host}:{owner.pid}:{owner.started}"


def owner_of(pid: int) -> RunOwner:
    """A living process of this machine."""
    owner = Owner.of(pid)
    return RunOwner(owner.host, owner.pid, owner.started)


def is_gone(run: RunRecord, now: datetime) -> bool:
    """Whether a run that has not ended never will, because its process is no more."""
    if run.status.is_final:
        return False
    owner = Owner(run.owner.host, run.owner.pid, run.owner.started)
    if owner.is_here():
        return not owner.is_running()
    return now - run.seen_at > SILENT_FOR


def as_seen(run: RunRecord, now: datetime) -> RunRecord:
    """The run, shown as lost if its process is gone."""
    return replace(run, status=RunStatus.LOST) if is_gone(run, now) else run


def tell_to_end(run: RunRecord) -> None:
    """Tell a run that was asked to end, if its process is one of this machine.

    One that is elsewhere, or has not begun, finds the request in its record.
    """
    owner = Owner(run.owner.host, run.owner.pid, run.owner.started)
    if run.started_at is not None and owner.is_here() and owner.is_running():
        with suppress(ProcessLookupError):
            os.kill(owner.pid, CANCEL)


def prune_runs(state: State, before: datetime) -> None:
    """Forget runs that ended before this time, with their logs."""
    for run in state.runs.prune(before):
        if run.log_path is not None:
            Path(run.log_path).unlink(missing_ok=True)


def _ticket(kind: str) -> RunTicket:
    given = os.environ.get(RUN_ID)
    return RunTicket(given or new_run_id(datetime.now(UTC)), kind, given is not None)


class _Watch:
    """The thread that keeps the record and looks for a request to cancel."""

    def __init__(
        self,
        ticket: RunTicket,
        recorder: RunRecorder,
        settings: Settings,
        open_state: Callable[[Settings], State],
    ) -> None:
        self._ticket = ticket
        self._recorder = recorder
        self._settings = settings
        self._open_state = open_state
        self._began_at = datetime.now(UTC)
        self._end: RunEnd | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="run-record")

    def start(self) -> None:
        self._thread.start()

    def end(self, end: RunEnd) -> None:
        """Have the end written, and wait for it, but not for ever."""
        self._end = end
        self._ended.set()
        self._recorder.release()
        self._thread.join(_END_WITHIN)
        if self._thread.is_alive():
            _warn("state store too slow")

    def _keep(self) -> None:
        self._ended.wait(_BEGIN_AFTER)
        self._recorder.wait_for_release()
        try:
            state = self._open_state(self._settings)
            self._begin(state)
            self._watch(state)
            self._finish(state)
            state.close()
        except LetheError as error:
            _warn(error.message)

    def _begin(self, state: State) -> None:
        if not self._ticket.given:
            state.runs.add(self._record())
        if not state.runs.begin(self._ticket.id, owner_here()):
            self._cancel_from_here("this run was given up by its scheduler")

    def _record(self) -> RunRecord:
        """The run as it began: a short one is recorded when it is nearly over."""
        ticket, now, owner = self._ticket, self._began_at, owner_here()
        return RunRecord(ticket.id, ticket.kind, RunStatus.QUEUED, owner, now, now, started_at=now)

    def _watch(self, state: State) -> None:
        ticks, cancelled = 0, False
        while not self._ended.wait(WATCH_EVERY):
            ticks += 1
            try:
                if ticks % (BEAT_EVERY // WATCH_EVERY) == 0:
                    state.runs.beat(self._ticket.id, self._recorder.counts)
                if not cancelled and self._is_to_end(state):
                    cancelled = True
                    self._cancel_from_here("asked to end")
            except StoreError as error:
                _warn(error.message)

    def _is_to_end(self, state: State) -> bool:
        run = state.runs.get(self._ticket.id)
        return run is not None and (run.cancel_requested_at is not None or run.status.is_final)

    def _cancel_from_here(self, reason: str) -> None:
        if not self._ended.is_set():
            _log.warning("run is cancelled", run=self._ticket.id, reason=reason)
            os.kill(os.getpid(), CANCEL)

    def _finish(self, state: State) -> None:
        if self._end is not None:
            state.runs.finish(self._ticket.id, self._end, self._recorder.counts)
        if not self._ticket.given:
            kept = timedelta(days=self._settings.state.keep_days)
            prune_runs(state, datetime.now(UTC) - kept)


def _warn(reason: str) -> None:
    _log.warning("the run is not fully recorded", reason=reason)


@dataclass
class _Cancelling:
    """Whether there is still something to cancel."""

    over: bool = False


@contextmanager
def _raised_on_cancel() -> Iterator[_Cancelling]:
    """Have the signal raise ``RunCancelled``, once, and not after the end.

    The handler stays: without one, a signal that comes late would end the process.
    """
    state = _Cancelling()

    def cancel(*_: Any) -> None:
        if not state.over:
            state.over = True
            raise RunCancelled("cancelled")

    if threading.current_thread() is threading.main_thread():
        signal.signal(CANCEL, cancel)
    yield state
