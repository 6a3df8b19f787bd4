"""Deliver: one round from the last commit up to now, and rounds without end."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import xxhash
from rich.console import Console

from beam_pipelines.deliver import Destination, Rules, Sources, deliver, survey
from runners.alive import alive_run
from runners.choose import PipelineRunner
from runners.plan import Plan, plan_delivery
from runners.plan_streams import StreamInput, with_streams
from runners.progress import shown_progress
from runners.report import Report
from schemas.errors import LetheError, StoreError
from stores.inputs import InputOpener
from stores.lake_key import check_key, claim_key
from stores.log import Commit, DeliveryLog, Owner, Positions, Run, new_run_id
from stores.objects.local import LocalObjectStore
from stores.objects.port import ObjectStore
from transforms.shards import OnGap
from transforms.stages import CommitPlan
from transforms.write import Output

_log = structlog.get_logger()


@dataclass(frozen=True)
class Delivery:
    """A delivery as it was asked for."""

    inputs: tuple[str, ...]
    """Paths, globs, folders and manifests of files."""
    store: ObjectStore
    opener: InputOpener
    rules: Rules
    output: Output
    workers: int
    work_folder: Path | None = None
    dry_run: bool = False
    workers_here: bool = True
    """Whether workers see this machine's folders."""
    streams: tuple[StreamInput, ...] = ()
    on_gap: OnGap = OnGap.FAIL


def run_round(delivery: Delivery, runner: PipelineRunner, console: Console) -> Report:
    """Deliver what is new in the inputs, as one commit.

    Whatever happens, the lake is whole afterwards: the round is committed, or nothing of it
    remains. Raises ``LetheError``.
    """
    began = time.monotonic()
    log = DeliveryLog(delivery.store)
    if not delivery.dry_run:
        prepare_lake(log, delivery)
    known = log.positions()
    if known.owed and not delivery.dry_run:
        take_out_late_rows(delivery, known)
    plan = plan_delivery(delivery.inputs, delivery.opener, known.sources, delivery.workers)
    sources = Sources(plan.splits, delivery.opener)
    if delivery.streams:
        sources = with_streams(
            sources, delivery.streams, known.shards, delivery.on_gap, delivery.workers
        )
    if not len(sources):
        return Report(skipped=plan.skipped, dry_run=delivery.dry_run)
    if delivery.dry_run:
        report = _survey(delivery, plan, sources, known, runner, console)
    else:
        run = begin_run(log, delivery, known)
        heeded = heeding_all(log, known)
        report = _deliver(delivery, plan, sources, log, run, heeded, runner, console)
        take_out_late_rows(delivery, known)
    return _timed(report, plan, sources, time.monotonic() - began)


def prepare_lake(log: DeliveryLog, delivery: Delivery) -> None:
    """Prove that the lake can be written to with this key; finish or clear what runs left."""
    delivery.store.check_writable()
    check_key(delivery.store, delivery.rules.scrub_key.fingerprint)
    # Found before the runs are looked at: whoever has a folder by now has left a marker before.
    folders = list(_work_root(delivery).glob(_work_name(delivery, "*")))
    recovery = log.recover()
    if recovery.published or recovery.discarded:
        _log.info("recovered", published=recovery.published, discarded=recovery.discarded)
    if recovery.waiting:
        _log.info("other runs are under way", runs=len(recovery.waiting))
    for folder in folders:
        if not folder.name.endswith(recovery.waiting):
            shutil.rmtree(folder, ignore_errors=True)


def begin_run(log: DeliveryLog, delivery: Delivery, known: Positions, kind: str = "") -> Run:
    """Begin a run that brings rows: the lake is this key's from now on."""
    claim_key(delivery.store, delivery.rules.scrub_key.fingerprint)
    return log.begin(new_run_id(datetime.now(UTC)), known.number, kind)


def heeding_all(log: DeliveryLog, known: Positions) -> Positions:
    """The same positions, with suppressions that have begun since. Call when the run has begun.

    An erasure first enters its suppression, and then looks which runs are under way: it waits for
    this one, or is heeded by it.
    """
    return replace(known, suppressions=log.cleanliness_since(known).suppressions)


def take_out_late_rows(delivery: Delivery, known: Positions) -> None:
    """Take out of the lake what was delivered of subjects that were erased meanwhile.

    ``known`` is how the log stood before. Whoever was killed before this leaves it to the next run.
    """
    now = DeliveryLog(delivery.store).cleanliness_since(known)
    if not now.owed:
        return
    from runners.erase_late import LateRows  # which takes its time to load, and is seldom needed

    rules = delivery.rules
    LateRows(delivery.store, rules.scrub_key, rules.registry).cleanse(now)


def _deliver(
    delivery: Delivery,
    plan: Plan,
    sources: Sources,
    log: DeliveryLog,
    run: Run,
    known: Positions,
    runner: PipelineRunner,
    console: Console,
) -> Report:
    now = datetime.now(UTC)
    with alive_run(log, run), work_folder(delivery, run.run_id) as folder:
        destination = Destination(
            delivery.store,
            delivery.output,
            folder if delivery.workers_here else None,
            _commit_plan(run, plan, sources, known),
            now,
            known.suppressions,
        )
        with shown_progress(folder, plan.size, console):
            runner.run(lambda p: deliver(p, sources, delivery.rules, destination), len(sources))
    return report_of(log.commit_of(run))


def _commit_plan(run: Run, plan: Plan, sources: Sources, known: Positions) -> CommitPlan:
    shards = sources.delivered.items()
    reached = {source: state.through.until for source, state in shards if state.through is not None}
    return CommitPlan(run, "deliver", plan.files, knows=known.knows, reached=reached)


def _survey(
    delivery: Delivery,
    plan: Plan,
    sources: Sources,
    known: Positions,
    runner: PipelineRunner,
    console: Console,
) -> Report:
    now = datetime.now(UTC)
    run = Run(new_run_id(now), Owner.this_process(), 0)
    with _survey_folder(delivery) as folder:
        destination = Destination(
            delivery.store,
            delivery.output,
            folder if delivery.workers_here else None,
            CommitPlan(run, "deliver", plan.files),
            now,
            known.suppressions,
        )
        with shown_progress(folder, plan.size, console):
            counters = runner.run(
                lambda p: survey(p, sources, delivery.rules, destination), len(sources)
            )
    return _report_of_counters(counters)


@contextmanager
def _survey_folder(delivery: Delivery) -> Iterator[Path]:
    """A folder outside the lake, where a survey leaves nothing."""
    try:
        made = tempfile.TemporaryDirectory(prefix="lethe-survey-", dir=delivery.work_folder)
    except OSError as error:
        where = delivery.work_folder or tempfile.gettempdir()
        raise StoreError(f"{where}: no folder can be made here: {error.strerror}") from error
    with made as name:
        yield Path(name)


@contextmanager
def work_folder(delivery: Delivery, run_id: str) -> Iterator[Path]:
    """A folder for spilled rows, gone afterwards; the next run clears that of a killed one."""
    folder = _work_root(delivery) / _work_name(delivery, run_id)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _work_name(delivery: Delivery, run_id: str) -> str:
    """Tells one lake's folders from another's where several share a place for such."""
    return f"lethe-{xxhash.xxh3_64_hexdigest(delivery.store.uri.encode())}-{run_id}"


def _work_root(delivery: Delivery) -> Path:
    if delivery.work_folder is not None:
        return delivery.work_folder
    if isinstance(delivery.store, LocalObjectStore):
        return Path(delivery.store.uri) / "_lethe" / "work"
    return Path(tempfile.gettempdir())


def report_of(commit: Commit | None) -> Report:
    """The report of a commit, without what only the run knows; an empty one of no commit."""
    if commit is None:
        return Report()
    data = [file for file in commit.files if not file.partition.is_errors]
    return Report(
        **commit.counts,
        files=len(data),
        bytes=sum(file.staged.size for file in data),
        commit=commit.number,
    )


def _report_of_counters(counters: dict[str, int]) -> Report:
    fields: dict[str, Any] = {"by_type": {}, "by_date": {}, "by_error": {}}
    for name, value in sorted(counters.items()):
        group, _, key = name.partition(".")
        if key:
            fields[group][key] = value
        else:
            fields[name] = value
    return Report(**fields, dry_run=True)


def _timed(report: Report, plan: Plan, sources: Sources, seconds: float) -> Report:
    return replace(
        report,
        inputs=len(plan.files) + sources.shard_count,
        skipped=plan.skipped,
        input_bytes=plan.size,
        seconds=round(seconds, 3),
        records_per_second=round(report.read / seconds, 1),
    )


def run_rounds(
    delivery: Delivery,
    runner: PipelineRunner,
    console: Console,
    every: float,
    stop: threading.Event,
) -> Iterator[Report]:
    """Rounds, one every ``every`` seconds, until ``stop`` is set; a round under way is finished.

    What may succeed when tried again - a store that does not answer, an input that has not come
    yet - is logged and left to the next round; any other error ends the loop.
    """
    while not stop.is_set():
        began = time.monotonic()
        try:
            yield run_round(delivery, runner, console)
        except LetheError as error:
            if not error.retryable:
                raise
            _log.warning("this round failed", code=error.code, next_in_seconds=every)
        stop.wait(max(0.0, every - (time.monotonic() - began)))
