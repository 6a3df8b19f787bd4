"""Index: the subject indexes of a lake made good, in passes of so many files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from beam_pipelines.index import index
from runners.alive import alive_run
from runners.choose import PipelineRunner
from runners.erase_late import LateRows
from schemas.erasure import FileKind
from schemas.registry import Registry
from stores.index_sweep import sweep_indexes
from stores.lake_files import LakeFile, lake_files
from stores.lake_key import claim_key
from stores.log import DeliveryLog, new_run_id
from stores.log_entries import INDEX
from stores.objects.port import ObjectStore
from stores.subject_index import IndexStamp, untrusted
from transforms.index import stamp_of
from transforms.index_stages import IndexPlan
from transforms.scrub import ScrubKey
from transforms.subject_hashes import SubjectHasher

PASS_FILES = 5000
"""Files whose indexes are made in one commit."""


@dataclass(frozen=True)
class IndexReport:
    """What was done: of ``files`` that can have an index so many were ``indexed`` anew.

    ``unreadable`` files got none, and ``left`` ones were changed by others meanwhile: both are read
    by whoever looks for a subject.
    """

    files: int = 0
    indexed: int = 0
    unreadable: int = 0
    left: int = 0
    commits: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Indexing:
    """The lake whose indexes are to be made good."""

    store: ObjectStore
    registry: Registry
    key: ScrubKey


def run_indexing(indexing: Indexing, runner: PipelineRunner) -> IndexReport:
    """Make the index of every file that has none, or one that is not trusted.

    Killed at any point it loses one pass at the most. Raises ``LetheError``.
    """
    began = time.monotonic()
    log = DeliveryLog(indexing.store)
    indexing.store.check_writable()
    claim_key(indexing.store, indexing.key.fingerprint)
    log.recover()
    late = LateRows(indexing.store, indexing.key, indexing.registry)
    late.cleanse(log.positions())
    number = log.last_number()
    files = [file for file in lake_files(indexing.store, log) if _can_have_one(file, indexing)]
    wanting = _wanting(indexing, files)
    report = IndexReport(files=len(files))
    for start in range(0, len(wanting), PASS_FILES):
        some = wanting[start : start + PASS_FILES]
        report = _pass(indexing, log, number, some, runner, report)
    sweep_indexes(indexing.store, log, datetime.now(UTC))
    return replace(report, seconds=round(time.monotonic() - began, 3))


def _can_have_one(file: LakeFile, indexing: Indexing) -> bool:
    """Whether an index of the file would be trusted: the log has to know it as it is."""
    return file.kind is FileKind.DATA and file.type in indexing.registry and file.is_as_logged


def _wanting(indexing: Indexing, files: Sequence[LakeFile]) -> list[LakeFile]:
    hasher = SubjectHasher.of(indexing.key)
    stamps: dict[str | None, IndexStamp] = {
        kind.name: stamp_of(kind, hasher) for kind in indexing.registry
    }
    return list(untrusted(indexing.store, files, stamps))


def _pass(
    indexing: Indexing,
    log: DeliveryLog,
    number: int,
    files: Sequence[LakeFile],
    runner: PipelineRunner,
    report: IndexReport,
) -> IndexReport:
    run = log.begin(new_run_id(datetime.now(UTC)), number, INDEX)
    plan = IndexPlan(indexing.store, indexing.registry, indexing.key, run)
    with alive_run(log, run):
        counters = runner.run(lambda pipeline: index(pipeline, files, plan), len(files))
    commit = log.commit_of(run)
    return replace(
        report,
        indexed=report.indexed + (0 if commit is None else len(commit.indexed)),
        unreadable=report.unreadable + counters.get("unreadable", 0),
        left=report.left + counters.get("left", 0),
        commits=report.commits if commit is None else (*report.commits, commit.number),
    )
