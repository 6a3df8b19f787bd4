"""``lethe runs``: what ran, what runs, and an end to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.commands.options import configured

if TYPE_CHECKING:
    from datetime import datetime

    from schemas.runs import RunRecord
    from stores.state.port import State
    from stores.state.service_port import Stores

app = typer.Typer(name="runs", help="Runs: list, look into, cancel.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, as `lethe runs list` has.")]
_NUMBERS = frozenset({"seconds", "read", "attempt", "missed"})
_WIDTH = 400

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, in full.")]


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest runs of this state store, whoever started them."""
    from runners.runs import as_seen
    from schemas.access import Reach
    from schemas.runs import RunQuery
    from stores.state.sql import utc_now

    with opened_state() as state:
        newest = state.runs.find(RunQuery(limit), Reach(None))
        found = [as_seen(run, utc_now()) for run in newest]
    if as_json:
        for run in found:
            print_json(run)
    else:
        _print_runs(found)


@app.command("show")
def show_run(
    run_id: RunId,
    log: Annotated[bool, typer.Option("--log", help="Print what the run said, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one run: its status, times, counts, process, and its error if it failed."""
    with opened_state() as state:
        run = _seen(state, run_id)
    if as_json:
        print_json(run)
    else:
        for name, value in _facts(run):
            typer.echo(f"{name:<14}{value}")
    if log:
        typer.echo(_log_of(run), nl=False)


@app.command("cancel")
def cancel_run(run_id: RunId) -> None:
    """Ask a run to end. Its round ends with nothing half-done."""
    from runners.runs import tell_to_end
    from schemas.errors import UsageError

    with opened_state() as state:
        run = _seen(state, run_id)
        if run.status.is_final or not state.runs.request_cancel(run_id):
            raise UsageError(f"run {run_id} cannot be cancelled: it is {run.status}")
        tell_to_end(_seen(state, run_id))
    typer.echo(f"run {run_id} is asked to end")


@contextmanager
def opened_state() -> Iterator[Stores]:
    """The state store of the settings. Raises ``UsageError`` and ``StoreError``."""
    from runners.runs import state_of

    settings = configured()
    state = state_of(settings)
    try:
        yield state
    finally:
        state.close()


def print_json(record: Any) -> None:
    """Print a record as one line of JSON."""
    import msgspec

    typer.echo(msgspec.json.encode(asdict(record)).decode())


def when(time: datetime | None) -> str:
    """A time as people read it, in UTC."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def _seen(state: State, run_id: str) -> RunRecord:
    from runners.runs import as_seen
    from schemas.errors import UsageError
    from stores.state.sql import utc_now

    run = state.runs.get(run_id)
    if run is None:
        raise UsageError(f"there is no run {run_id}: `lethe runs list` has those there are")
    return as_seen(run, utc_now())


def print_table(columns: tuple[str, ...], rows: Iterable[list[str]]) -> None:
    """Print a table whose cells are never cut or wrapped, so that ids can be copied."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True, justify="right" if name in _NUMBERS else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=_WIDTH, soft_wrap=True).print(table, crop=False)


def _print_runs(runs: list[RunRecord]) -> None:
    columns = ("run", "kind", "schedule", "status", "started (UTC)", "seconds", "read")
    print_table(columns, map(_row, runs))


def _row(run: RunRecord) -> list[str]:
    read = run.counts.get("read")
    return [
        run.id,
        run.kind,
        run.schedule or "",
        run.status.value,
        when(run.started_at),
        _seconds(run),
        "" if read is None else f"{read:,}",
    ]


def _seconds(run: RunRecord) -> str:
    if run.started_at is None or run.ended_at is None:
        return ""
    return f"{(run.ended_at - run.started_at).total_seconds():.1f}"


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    facts = [
        ("run", run.id),
        ("kind", run.kind),
        ("status", run.status.value),
        ("schedule", run.schedule or ""),
        ("asked by", " of ".join(part for part in (run.requested_by, run.organization) if part)),
        ("job", run.job_id or ""),
        ("queued", when(run.queued_at)),
        ("started", when(run.started_at)),
        ("ended", when(run.ended_at)),
        ("last seen", when(run.seen_at)),
        ("process", f"{run.owner.pid} on {run.owner.host}"),
        ("exit status", "" if run.exit_status is None else str(run.exit_status)),
        ("error", ": ".join(part for part in (run.error_code, run.error_message) if part)),
        ("cancel asked", when(run.cancel_requested_at)),
        ("log", run.log_path or ""),
        *((name.replace("_", " "), f"{count:,}") for name, count in run.counts.items()),
    ]
    return [(name, value) for name, value in facts if value]


def _log_of(run: RunRecord) -> str:
    from schemas.errors import InputMissing

    if run.log_path is None:
        raise InputMissing(f"run {run.id} has no log: it spoke to the terminal it was started from")
    try:
        return Path(run.log_path).read_text("utf-8", "replace")
    except OSError as error:
        raise InputMissing(f"{run.log_path}: cannot be read: {error.strerror}") from error
