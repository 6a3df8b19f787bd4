"""The stages that make subject indexes anew, as Beam carries them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import structlog

from schemas.erasure import IndexedFile
from schemas.errors import ObjectChanged, ObjectMissing, SchemaError
from schemas.registry import Registry
from stores.lake_files import LakeFile
from stores.log import Commit, DeliveryLog, Run
from stores.log_entries import INDEX, bare_entry
from stores.objects.port import ObjectStore, StagedObject
from stores.subject_index import IndexWriter
from transforms.erasure.files import Unreadable
from transforms.index_file import index_file
from transforms.scrub import ScrubKey
from transforms.stages import in_global_window, report_metrics
from transforms.subject_hashes import SubjectHasher

_log = structlog.get_logger()


@dataclass(frozen=True)
class IndexPlan:
    """What making the index of any file takes."""

    store: ObjectStore
    registry: Registry
    key: ScrubKey
    run: Run


class IndexFiles(beam.DoFn):
    """Files to their indexes, staged; what cannot be read gets none, and is read when asked for."""

    def __init__(self, plan: IndexPlan) -> None:
        self._plan = plan

    def setup(self) -> None:
        self._hasher = SubjectHasher.of(self._plan.key)

    def start_bundle(self) -> None:
        self._indexes = IndexWriter(self._plan.store, self._plan.run.run_id)
        self._digests: dict[str, str] = {}

    def process(self, file: LakeFile) -> None:
        if file.logged is None or file.type is None:
            return
        plan, record_type = self._plan, self._plan.registry[file.type]
        try:
            index_file(file.path, [file], plan.store, record_type, self._hasher, self._indexes)
        except (ObjectMissing, ObjectChanged):
            report_metrics({"left": 1})
            return
        except (Unreadable, SchemaError) as error:
            _log.error("a file gets no index", file=file.path, code=error.code)
            report_metrics({"unreadable": 1})
            return
        self._digests[file.path] = file.logged.staged.sha256

    def finish_bundle(self) -> Iterator[Any]:
        indexed = self._indexes.finish()
        for path, digest in self._digests.items():
            yield in_global_window(IndexedFile(path, digest, indexed.refs[path]))
        yield from map(in_global_window, indexed.containers)


class CommitIndexes(beam.DoFn):
    """All indexes as one commit; published."""

    def __init__(self, plan: IndexPlan) -> None:
        self._plan = plan

    def process(self, keyed: tuple[None, Iterable[Any]]) -> Iterator[Commit]:
        made = list(keyed[1])
        indexed = [one for one in made if isinstance(one, IndexedFile)]
        if indexed:
            draft = _draft(
                self._plan.run, indexed, [o for o in made if isinstance(o, StagedObject)]
            )
            yield DeliveryLog(self._plan.store).commit(self._plan.run, draft)


def _draft(run: Run, indexed: list[IndexedFile], containers: list[StagedObject]) -> Commit:
    return replace(
        bare_entry(run.run_id, INDEX, datetime.now(UTC)),
        indexes=tuple(sorted(containers, key=lambda one: one.key)),
        indexed=tuple(sorted(indexed, key=lambda one: one.path)),
    )
