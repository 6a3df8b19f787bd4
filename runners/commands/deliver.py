"""``lethe deliver``"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands import options as shared

if TYPE_CHECKING:
    from runners.deliver import Delivery
    from runners.report import Report
    from transforms.shards import OnGap

OVER_ERROR_RATE = 3
"""Exit status of a delivery that was committed, but with too many dead letters."""


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Paths, globs, folders, export manifests, local or s3://; "
            "kinesis://STREAM?region=R[&endpoint=URL][&start=TRIM_HORIZON|LATEST|TIME].",
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
    allowed_lateness: Annotated[
        str,
        typer.Option(
            "--allowed-lateness", help="Streaming: how long after a window rows are on time enough."
        ),
    ] = "1h",
    idle: Annotated[
        str, typer.Option("--idle", help="Streaming: a quiet partition is delivered after this.")
    ] = "30s",
    max_error_rate: shared.MaxErrorRate = None,
    every: Annotated[
        str | None, typer.Option("--every", help="Deliver what is new again and again: 60s.")
    ] = None,
    on_gap: Annotated[
        str,
        typer.Option("--on-gap", help="Records of a stream that expired unread: fail or skip."),
    ] = "fail",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and validate, write nothing.")
    ] = False,
    runner: shared.Runner = "direct",
    flink_master: shared.FlinkMaster = None,
    spark_master: shared.SparkMaster = None,
    worker_pool: shared.WorkerPool = None,
    report: shared.ReportFile = None,
) -> None:
    """Deliver change records into a lake. What was delivered before is not delivered again."""
    from rich.console import Console

    from runners.choose import open_runner
    from runners.deliver import Delivery, run_round, run_rounds
    from runners.options import RunnerName
    from runners.plan_streams import parse_inputs
    from runners.runs import counts_of, recorded_run
    from stores.inputs import InputOpener

    settings = shared.configured().with_delivery(rotate_rows=rotate_rows, rotate_bytes=rotate_bytes)
    rules = shared.RuleOptions(
        schemas, types, events, since, until, unknown_fields, partition_timezone, window
    )
    files, streams = parse_inputs(inputs)
    where = shared.chosen_runner(settings, workers, runner, flink_master, spark_master, worker_pool)
    delivery = Delivery(
        inputs=files,
        store=shared.build_store(settings, lake),
        opener=InputOpener(shared.s3_settings(settings)),
        rules=shared.build_rules(settings, rules),
        output=shared.build_output(settings, fmt, codec),
        workers=where.workers,
        work_folder=settings.delivery.work_folder,
        dry_run=dry_run,
        workers_here=where.name is RunnerName.DIRECT,
        streams=streams,
        on_gap=_on_gap(on_gap),
    )
    interval = shared.parse_duration("--every", every)
    rate = settings.delivery.max_error_rate if max_error_rate is None else max_error_rate
    console = Console(stderr=True)
    if streams and where.name in {RunnerName.PRISM, RunnerName.FLINK}:
        _check_streaming(delivery, interval)
        from runners.stream import run_stream

        windowing = shared.build_windowing(delivery.output, allowed_lateness, idle)
        with recorded_run("deliver", settings):
            run_stream(delivery, where, windowing, _stop_on_signals())
        return
    with open_runner(where) as opened, recorded_run("deliver", settings) as run:
        if interval is None:
            done = run_round(delivery, opened, console)
            run.add(counts_of(done))
            conclude(done, report, rate)
        else:
            for done in run_rounds(delivery, opened, console, interval, _stop_on_signals()):
                run.add(counts_of(done))
                show(done, report)


def _check_streaming(delivery: Delivery, interval: int | None) -> None:
    """Raises ``UsageError`` for what has no meaning in a delivery without end."""
    from schemas.errors import UsageError
    from transforms.cut import check_windows

    if delivery.inputs:
        raise UsageError("files and streams cannot be delivered without end together: give streams")
    if interval is not None:
        raise UsageError("--every is for rounds: a delivery on prism or flink has no end anyway")
    if delivery.dry_run:
        raise UsageError("--dry-run is for rounds: leave out --runner")
    check_windows(delivery.rules.partitioning)


def _on_gap(text: str) -> OnGap:
    from schemas.errors import UsageError
    from transforms.shards import OnGap

    if text not in set(OnGap):
        raise UsageError(f"--on-gap {text!r}: choose fail or skip")
    return OnGap(text)


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
