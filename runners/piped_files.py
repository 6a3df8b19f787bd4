"""Work with files as pipelines do it, on whatever engine."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from beam_pipelines.erase import each_file
from runners.choose import PipelineRunner
from stores.erasures import findings_key
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore
from transforms.erasure.stages import FindingsObject
from transforms.erasure.work import FileWork, Findings


@dataclass(frozen=True)
class PipedFiles:
    """Does work by one pipeline each. Implements ``FileRunner``."""

    runner: PipelineRunner

    def each(
        self, files: Sequence[LakeFile], work: FileWork, store: ObjectStore, erasure_id: str
    ) -> Findings:
        """See ``FileRunner``."""
        if not files:
            return Findings()
        into = FindingsObject(store, findings_key(erasure_id, uuid.uuid4().hex))
        self.runner.run(lambda pipeline: each_file(pipeline, files, work, into), len(files))
        return into.take()
