"""``lethe compact``"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands import options as shared

if TYPE_CHECKING:
    from runners.compact import CompactionReport


def command(
    lake: shared.Lake,
    target_size: Annotated[
        str, typer.Option("--target-size", help="What a file is to have: 64MB, 1GB.")
    ] = "128MB",
    older_than: Annotated[
        str,
        typer.Option("--older-than", help="Only partitions that nothing joined since: 12h, 1d."),
    ] = "1d",
    schemas: shared.Schemas = None,
    workers: shared.Workers = None,
    runner: shared.Runner = "direct",
    flink_master: shared.FlinkMaster = None,
    spark_master: shared.SparkMaster = None,
    worker_pool: shared.WorkerPool = None,
) -> None:
    """Put small files of closed partitions together."""
    from datetime import UTC, datetime, timedelta

    from runners.choose import open_runner
    from runners.compact import Compaction, run_compaction
    from runners.runs import recorded_run
    from transforms.compact import CompactionRules
    from transforms.scrub import ScrubKey

    settings = shared.configured()
    where = shared.chosen_runner(settings, workers, runner, flink_master, spark_master, worker_pool)
    age = timedelta(seconds=shared.parse_duration("--older-than", older_than) or 0)
    rules = CompactionRules(parse_size("--target-size", target_size), datetime.now(UTC) - age)
    store = shared.build_store(settings, lake)
    shared.check_lake(store)
    compaction = Compaction(
        store,
        shared.build_registry(settings, schemas),
        ScrubKey.of(shared.parameter_store(settings)),
        rules,
    )
    with open_runner(where) as opened, recorded_run("compact", settings) as run:
        done = run_compaction(compaction, opened)
        run.add({"merged": done.merged, "into": done.into})
    _show(done)


def parse_size(option: str, text: str) -> int:
    """``64MB``, ``1GB`` or ``512KB`` in bytes, by powers of 1,000. Raises ``UsageError``."""
    from schemas.errors import UsageError

    found = re.fullmatch(r"(\d+)(KB|MB|GB)", text)
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{option} {text!r}: write a size as 64MB or 1GB")
    return int(found[1]) * {"KB": 10**3, "MB": 10**6, "GB": 10**9}[found[2]]


def _show(done: CompactionReport) -> None:
    from rich.console import Console

    from runners.report import labelled

    lines = [
        ("commits", ", ".join(map(str, done.commits)) or "nothing to do"),
        ("merged", f"{done.merged:,} files of {done.bytes_before / 1e6:,.1f} MB"),
        ("into", f"{done.into:,} files of {done.bytes_after / 1e6:,.1f} MB"),
        ("time", f"{done.seconds:,.2f} s"),
    ]
    if done.unreadable:
        lines.insert(3, ("unreadable", f"{done.unreadable:,}: left alone, the log names them"))
    if done.left:
        lines.insert(3, ("left", f"{done.left:,}: changed meanwhile, run again"))
    Console().print(labelled(lines))
