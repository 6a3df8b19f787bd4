"""Replay: one round over the dead letters of a lake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from beam_pipelines.deliver import Destination
from beam_pipelines.replay import replay
from runners.alive import alive_run
from runners.choose import PipelineRunner
from runners.deliver import (
    Delivery,
    begin_run,
    heeding_all,
    prepare_lake,
    report_of,
    take_out_late_rows,
    work_folder,
)
from runners.progress import shown_progress
from runners.report import Report
from schemas.delivery import ERRORS
from stores.log import DeliveryLog, Positions, Run
from stores.objects.port import ObjectInfo, ObjectStore
from transforms.letters import LetterFilter, letter_blocks
from transforms.stages import CommitPlan


def replay_round(
    delivery: Delivery, chosen: LetterFilter, runner: PipelineRunner, console: Console
) -> Report:
    """Deliver the chosen dead letters again, as one commit.

    Letters that fail again are dead letters again, with one attempt more; the last attempt parks
    them. Raises ``LetheError``.
    """
    began = time.monotonic()
    log = DeliveryLog(delivery.store)
    # Known before the letters are listed: whoever takes the same ones commits after this.
    known = log.positions()
    prepare_lake(log, delivery)
    found = [info for info in letter_files(delivery.store) if _concerns(info, delivery, chosen)]
    if not found:
        return Report()
    run = begin_run(log, delivery, known)
    heeded = heeding_all(log, known)
    report = _replay(delivery, chosen, found, log, run, heeded, runner, console)
    take_out_late_rows(delivery, known)
    seconds = time.monotonic() - began
    return replace(
        report,
        inputs=len(found),
        input_bytes=sum(info.size for info in found),
        seconds=round(seconds, 3),
        records_per_second=round(report.read / seconds, 1),
    )


def letter_files(store: ObjectStore) -> Iterator[ObjectInfo]:
    """The lake's files of dead letters, without the parked ones."""
    return store.list(f"{ERRORS}/date=")


def _concerns(info: ObjectInfo, delivery: Delivery, chosen: LetterFilter) -> bool:
    """Whether a file holds any chosen letter; others are left untouched."""
    with delivery.store.open(info.key) as stream:
        return any(block.documents for block in letter_blocks(info.key, stream, chosen))


def _replay(
    delivery: Delivery,
    chosen: LetterFilter,
    found: list[ObjectInfo],
    log: DeliveryLog,
    run: Run,
    known: Positions,
    runner: PipelineRunner,
    console: Console,
) -> Report:
    now = datetime.now(UTC)
    paths = tuple(info.key for info in found)
    with alive_run(log, run), work_folder(delivery, run.run_id) as folder:
        plan = CommitPlan(run, "replay", {}, removed=paths, knows=known.knows)
        destination = Destination(
            delivery.store, delivery.output, folder, plan, now, known.suppressions
        )
        with shown_progress(folder, sum(info.size for info in found), console):
            runner.run(lambda p: replay(p, paths, chosen, delivery.rules, destination), len(paths))
    return report_of(log.commit_of(run))
