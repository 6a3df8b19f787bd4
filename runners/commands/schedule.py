"""``lethe schedule``: jobs that start by the clock."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands.options import configured
from runners.commands.runs import AsJson, opened_state, print_json, print_table, when

if TYPE_CHECKING:
    from runners.scheduler.config import Schedule
    from schemas.schedule import ScheduleEntry
    from stores.state.port import State

app = typer.Typer(name="schedule", help="Start jobs by the clock.", no_args_is_help=True)

ConfigFile = Annotated[Path, typer.Option("--config", help="The schedule, a YAML file.")]


@app.command("run")
def run_schedule(config: ConfigFile) -> None:
    """Start jobs when they are due, until SIGTERM. Any number of these may run: one leads."""
    from datetime import timedelta

    from runners.launcher import ProcessLauncher
    from runners.runs import holder_here, state_folder, state_of
    from runners.scheduler.config import load_schedule
    from runners.scheduler.loop import Place, Scheduler
    from stores.state.sql import utc_now

    settings = configured()
    schedule = load_schedule(config)
    state = state_of(settings)
    place = Place(
        state=state,
        launcher=ProcessLauncher(),
        clock=utc_now,
        logs=state_folder(settings) / "logs",
        keep=timedelta(days=settings.state.keep_days),
    )
    Scheduler(schedule, place, holder_here()).run(_stop_on_signals())
    state.close()


@app.command("list")
def list_jobs(config: ConfigFile) -> None:
    """Check a schedule, and show its jobs: when each is due next, and how it went last."""
    from runners.scheduler.config import load_schedule

    schedule = load_schedule(config)
    with opened_state() as state:
        _print_jobs(schedule, state)
        typer.echo(f"leader: {_leader(schedule, state)}")


@app.command("history")
def show_history(
    config: ConfigFile,
    job: Annotated[str | None, typer.Option("--job", help="Only this job.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what was done about the jobs: runs started, their attempts, and runs missed."""
    from runners.scheduler.config import load_schedule
    from schemas.errors import UsageError

    schedule = load_schedule(config)
    if job is not None and job not in schedule.jobs:
        raise UsageError(f"--job {job!r}: choose one of {', '.join(schedule.jobs)}")
    with opened_state() as state:
        entries = state.history.entries(schedule.name, job, limit)
        if as_json:
            for entry in entries:
                print_json(entry)
        else:
            _print_history(entries, state)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _print_jobs(schedule: Schedule, state: State) -> None:
    columns = ("job", "cron", "zone", "command", "next due (UTC)", "last run")
    print_table(columns, [_job_row(schedule, name, state) for name in schedule.jobs])


def _job_row(schedule: Schedule, name: str, state: State) -> list[str]:
    from runners.scheduler.plan import next_due
    from stores.state.sql import utc_now

    job = schedule.jobs[name]
    zone = (job.timezone or schedule.timezone).key
    due = when(next_due(schedule, name, utc_now()))
    last = state.history.last(schedule.name, name)
    return [name, job.cron, zone, job.command[0], due, _status(last, state)]


def _print_history(entries: list[ScheduleEntry], state: State) -> None:
    columns = ("job", "due (UTC)", "event", "attempt", "missed", "run", "status")
    print_table(columns, [_row(entry, state) for entry in entries])


def _row(entry: ScheduleEntry, state: State) -> list[str]:
    return [
        entry.job,
        when(entry.due_at),
        entry.event.value,
        str(entry.attempt or ""),
        str(entry.missed or ""),
        entry.run_id or "",
        _status(entry, state),
    ]


def _status(entry: ScheduleEntry | None, state: State) -> str:
    """The status of the run that an entry started; "" if it started none that is known."""
    from runners.runs import as_seen
    from stores.state.sql import utc_now

    run = state.runs.get(entry.run_id) if entry is not None and entry.run_id is not None else None
    return "" if run is None else as_seen(run, utc_now()).status.value


def _leader(schedule: Schedule, state: State) -> str:
    from runners.scheduler.loop import lease_name
    from stores.state.sql import utc_now

    lease = state.leases.current(lease_name(schedule))
    if lease is None or lease.expires_at <= utc_now():
        return "none"
    host, pid, _ = lease.holder.rsplit(":", 2)
    return f"process {pid} on {host}"
