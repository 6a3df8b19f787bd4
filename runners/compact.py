"""Compact: small files of closed partitions into few, in passes of bounded size."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from beam_pipelines.compact import compact
from runners.alive import alive_run
from runners.choose import PipelineRunner
from runners.erase_late import LateRows
from runners.portions import portions
from schemas.registry import Registry
from stores.index_sweep import sweep_indexes
from stores.lake_files import lake_files
from stores.lake_key import claim_key
from stores.log import COMPACT, Commit, DeliveryLog, Positions, new_run_id
from stores.objects.port import ObjectStore
from transforms.compact import CompactionRules, Merge, plan_merges
from transforms.compact_stages import CompactionPlan
from transforms.scrub import ScrubKey

PASS_BYTES = 8 * 1024**3
"""Bytes of files put together in one commit: what is staged takes as much room again."""
PASS_FILES = 20_000
"""So many, about: rows are there twice until the last of them is removed."""


@dataclass(frozen=True)
class CompactionReport:
    """What a compaction did: ``merged`` files became ``into`` files.

    ``left`` merges were not made, because others changed their files meanwhile, and ``unreadable``
    files were left as they are. ``commits`` are the log's numbers.
    """

    merged: int = 0
    into: int = 0
    left: int = 0
    unreadable: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    commits: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Compaction:
    """A compaction as it was asked for."""

    store: ObjectStore
    registry: Registry
    key: ScrubKey
    rules: CompactionRules


def run_compaction(compaction: Compaction, runner: PipelineRunner) -> CompactionReport:
    """Put small files of closed partitions together; a delivery or an erasure beside it wins.

    Killed at any point, it leaves the lake whole, and goes on where it was when run again. Raises
    ``LetheError``.
    """
    began = time.monotonic()
    log = DeliveryLog(compaction.store)
    compaction.store.check_writable()
    claim_key(compaction.store, compaction.key.fingerprint)
    log.recover()
    late = LateRows(compaction.store, compaction.key, compaction.registry)
    late.cleanse(log.positions())
    # Known before files are listed: whoever changes one of them commits after this.
    known = log.positions()
    log.recover()  # what entries up to this one replace or remove is not to be read as it was
    merges = plan_merges(lake_files(compaction.store, log), compaction.rules)
    report = CompactionReport()
    for some in portions(merges, _weight, PASS_BYTES):
        report = _pass(compaction, log, known, some, runner, report)
    late.cleanse(log.cleanliness_since(known))
    sweep_indexes(compaction.store, log, datetime.now(UTC))
    return replace(report, seconds=round(time.monotonic() - began, 3))


def _weight(merge: Merge) -> int:
    """Its share of a pass, in bytes: many small files fill one, too."""
    return max(merge.size, len(merge.inputs) * (PASS_BYTES // PASS_FILES))


def _pass(
    compaction: Compaction,
    log: DeliveryLog,
    known: Positions,
    merges: list[Merge],
    runner: PipelineRunner,
    report: CompactionReport,
) -> CompactionReport:
    run = log.begin(new_run_id(datetime.now(UTC)), known.number, COMPACT)
    plan = CompactionPlan(compaction.store, compaction.registry, compaction.key, run, known.knows)
    with alive_run(log, run):
        counters = runner.run(lambda pipeline: compact(pipeline, merges, plan), len(merges))
    report = replace(
        report,
        left=report.left + counters.get("left", 0),
        unreadable=report.unreadable + counters.get("unreadable", 0),
    )
    return _added(report, merges, log.commit_of(run))


def _added(
    report: CompactionReport, merges: Iterable[Merge], commit: Commit | None
) -> CompactionReport:
    if commit is None:
        return report
    removed = set(commit.removed)
    inputs = [file for merge in merges for file in merge.inputs if file.info.key in removed]
    return replace(
        report,
        merged=report.merged + len(inputs),
        into=report.into + len(commit.files),
        bytes_before=report.bytes_before + sum(file.info.size for file in inputs),
        bytes_after=report.bytes_after + sum(file.staged.size for file in commit.files),
        commits=(*report.commits, commit.number),
    )
