"""The stages of a compaction as Beam carries them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import apache_beam as beam
import structlog

from schemas.errors import ObjectChanged, ObjectMissing, SchemaError
from schemas.registry import Registry
from stores.log import COMPACT, Commit, DataFile, DeliveryLog, FilesTaken, Run
from stores.log_entries import bare_entry
from stores.objects.port import ObjectStore, StagedObject
from stores.subject_index import Indexed, IndexWriter
from transforms.compact import Merge
from transforms.erasure.files import Unreadable
from transforms.index_file import index_file
from transforms.merge import merge_files
from transforms.scrub import ScrubKey
from transforms.stages import report_metrics
from transforms.subject_hashes import SubjectHasher

_log = structlog.get_logger()


@dataclass(frozen=True)
class CompactionPlan:
    """What every merge of a compaction needs to know. ``knows`` is the newest suppression."""

    store: ObjectStore
    registry: Registry
    key: ScrubKey
    run: Run
    knows: int


@dataclass(frozen=True)
class Merged:
    """One file, staged, and those that it takes the place of, with their entity tags."""

    file: DataFile
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    indexes: tuple[StagedObject, ...] = ()


class MergeFiles(beam.DoFn):
    """Merges to staged files; one whose inputs others have changed is left to a later run.

    A file that is damaged is named in the log, and left out: what was merged with it could not be
    read any more, either.
    """

    def __init__(self, plan: CompactionPlan) -> None:
        self._plan = plan

    def setup(self) -> None:
        self._hasher = SubjectHasher.of(self._plan.key)

    def process(self, merge: Merge) -> Iterator[Merged]:
        while merge.is_worthwhile:
            try:
                yield self._merged(merge)
                return
            except (ObjectChanged, ObjectMissing):
                report_metrics({"left": 1})
                return
            except Unreadable as damage:
                _log.error("a file cannot be read and is not merged", reason=damage.message)
                report_metrics({"unreadable": 1})
                merge = merge.without(damage.details["path"])

    def _merged(self, merge: Merge) -> Merged:
        plan = self._plan
        file = merge_files(merge, plan.store, plan.run.run_id)
        indexed = self._indexed(merge)
        (described,) = indexed.described([file])
        tags = tuple(one.info.etag for one in merge.inputs)
        return Merged(described, merge.paths, tags, indexed.containers)

    def _indexed(self, merge: Merge) -> Indexed:
        """With the set of the merged file, unless subjects cannot be looked for in it."""
        indexes = IndexWriter(self._plan.store, self._plan.run.run_id)
        try:
            self._index(merge, indexes)
            return indexes.finish()
        finally:
            indexes.abort()

    def _index(self, merge: Merge, indexes: IndexWriter) -> None:
        name = merge.model.partition.name
        if name not in self._plan.registry:
            return
        record_type, store = self._plan.registry[name], self._plan.store
        with suppress(SchemaError):
            index_file(merge.key, merge.inputs, store, record_type, self._hasher, indexes)


class CommitCompaction(beam.DoFn):
    """All that was merged, less what others have changed meanwhile, as one commit; published."""

    def __init__(self, plan: CompactionPlan) -> None:
        self._plan = plan

    def process(self, keyed: tuple[None, Iterable[Merged]]) -> Iterator[Commit]:
        log = DeliveryLog(self._plan.store)
        merged = self._unchanged(list(keyed[1]), log)
        while merged:
            try:
                commit = log.commit(self._plan.run, _draft(merged, self._plan))
            except FilesTaken as refusal:
                left = [one for one in merged if not set(one.paths) & set(refusal.paths)]
                report_metrics({"left": len(merged) - len(left)})
                merged = left
                continue
            report_metrics({"merged": sum(len(one.paths) for one in merged), "into": len(merged)})
            yield commit
            return

    def _unchanged(self, merged: list[Merged], log: DeliveryLog) -> list[Merged]:
        """Those whose inputs are what was read of them, unless the run has committed already."""
        if log.commit_of(self._plan.run) is not None:
            return merged
        folders = {path.rpartition("/")[0] for one in merged for path in one.paths}
        infos = (info for folder in folders for info in self._plan.store.list(f"{folder}/"))
        tags = {info.key: info.etag for info in infos}
        left = [one for one in merged if one.tags == tuple(map(tags.get, one.paths))]
        report_metrics({"left": len(merged) - len(left)})
        return left


def _draft(merged: Sequence[Merged], plan: CompactionPlan) -> Commit:
    return replace(
        bare_entry(plan.run.run_id, COMPACT, datetime.now(UTC)),
        files=tuple(sorted((one.file for one in merged), key=lambda file: file.path)),
        removed=tuple(sorted(path for one in merged for path in one.paths)),
        indexes=tuple(staged for one in merged for staged in one.indexes),
        knows=plan.knows,
    )
