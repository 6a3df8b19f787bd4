"""``lethe deliver``"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands import options as shared

if TYPE_CHECKING:
    from runners.report import Report

OVER_ERROR_RATE = 3
"""Exit status of a delivery that was committed, but with too many dead letters."""


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Paths, globs, folders, export manifests; local or s3://."
        ),
    ],
    lake: shared.Lake,
    fmt: shared.Format = None,
    codec: shared.Codec = None,
    workers: shared.Workers = None,
    types: Annotated[str | None, typer.Option("--types", help="Only these types: a,b.")] = None,
    events: Annotated[
        str | None, typer.Option("--events", help="Only these events: INSERT,MODIFY,REMOVE.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only rows of this time or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Only rows before this time.")
    ] = None,
    schemas: shared.Schemas = None,
    unknown_fields: shared.UnknownFieldsOption = None,
    partition_timezone: shared.PartitionTimezone = None,
    window: Annotated[
        str | None,
        typer.Option("--window", help="Files hold one event-time window each: 15m, 6h."),
    ] = None,
    rotate_rows: Annotated[
        int | None, typer.Option("--rotate-rows", min=1, help="Rows after which a file is full.")
    ] = None,
    rotate_bytes: Annotated[
        int | None,
        typer.Option("--rotate-bytes", min=1024, help="Bytes after which a file is full."),
    ] = None,
    max_error_rate: shared.MaxErrorRate = None,
    every: Annotated[
        str | None, typer.Option("--every", help="Deliver what is new again and again: 60s.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and validate, write nothing.")
    ] = False,
    report: shared.ReportFile = None,
) -> None:
    """Deliver change records into a lake. What was delivered before is not delivered again."""
    from rich.console import Console

    from config.settings import load_settings
    from runners.deliver import Delivery, run_round, run_rounds
    from runners.direct import DirectRunner
    from runners.logs import configure_logs
    from stores.inputs import InputOpener

    settings = load_settings().with_delivery(rotate_rows=rotate_rows, rotate_bytes=rotate_bytes)
    configure_logs(settings.log_level)
    rules = shared.RuleOptions(
        schemas, types, events, since, until, unknown_fields, partition_timezone, window
    )
    delivery = Delivery(
        inputs=tuple(inputs),
        store=shared.build_store(settings, lake),
        opener=InputOpener(shared.s3_settings(settings)),
        rules=shared.build_rules(settings, rules),
        output=shared.build_output(settings, fmt, codec),
        workers=shared.worker_count(settings, workers),
        work_folder=settings.delivery.work_folder,
        dry_run=dry_run,
    )
    interval = shared.parse_duration("--every", every)
    rate = settings.delivery.max_error_rate if max_error_rate is None else max_error_rate
    console = Console(stderr=True)
    with DirectRunner(delivery.workers) as runner:
        if interval is None:
            conclude(run_round(delivery, runner, console), report, rate)
        else:
            for done in run_rounds(delivery, runner, console, interval, _stop_on_signals()):
                show(done, report)


def conclude(done: Report, path: Path | None, max_error_rate: float) -> None:
    """Show the report; exit with 3 if too many records became dead letters."""
    show(done, path)
    if done.error_rate > max_error_rate:
        typer.echo(
            f"error: {done.error_rate:.1%} of the records are dead letters, more than "
            f"--max-error-rate {max_error_rate:.1%}: look into errors/ of the lake",
            err=True,
        )
        raise typer.Exit(OVER_ERROR_RATE)


def show(done: Report, path: Path | None) -> None:
    """Print the report, and write it to ``path`` if there is one."""
    from rich.console import Console

    from runners.report import show_report, write_report

    if path is not None:
        write_report(done, path)
    show_report(done, Console())


def _stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set: the round under way is finished, and no other begun."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
