"""``lethe index``"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runners.commands import options as shared

if TYPE_CHECKING:
    from runners.index import IndexReport


def command(
    lake: shared.Lake,
    schemas: shared.Schemas = None,
    workers: shared.Workers = None,
    runner: shared.Runner = "direct",
    flink_master: shared.FlinkMaster = None,
    spark_master: shared.SparkMaster = None,
    worker_pool: shared.WorkerPool = None,
) -> None:
    """Make the subject indexes of files that have none, or none that is trusted."""
    from runners.choose import open_runner
    from runners.index import Indexing, run_indexing
    from runners.runs import recorded_run
    from transforms.scrub import ScrubKey

    settings = shared.configured()
    where = shared.chosen_runner(settings, workers, runner, flink_master, spark_master, worker_pool)
    store = shared.build_store(settings, lake)
    shared.check_lake(store)
    indexing = Indexing(
        store,
        shared.build_registry(settings, schemas),
        ScrubKey.of(shared.parameter_store(settings)),
    )
    with open_runner(where) as opened, recorded_run("index", settings) as run:
        done = run_indexing(indexing, opened)
        run.add({"indexed": done.indexed, "unreadable": done.unreadable})
    _show(done)


def _show(done: IndexReport) -> None:
    from rich.console import Console

    from runners.report import labelled

    lines = [
        ("commits", ", ".join(map(str, done.commits)) or "nothing to do"),
        ("files", f"{done.files:,}"),
        ("indexed", f"{done.indexed:,}"),
        ("time", f"{done.seconds:,.2f} s"),
    ]
    if done.unreadable:
        lines.insert(3, ("unreadable", f"{done.unreadable:,}"))
    if done.left:
        lines.insert(3, ("left", f"{done.left:,}: changed meanwhile, run again"))
    Console().print(labelled(lines))
