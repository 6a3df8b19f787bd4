"""Index: subject indexes of files that have none that is trusted, as one commit."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from stores.lake_files import LakeFile
from transforms.index_stages import CommitIndexes, IndexFiles, IndexPlan


def index(pipeline: beam.Pipeline, files: Sequence[LakeFile], plan: IndexPlan) -> None:
    """Read the files side by side, and commit the indexes of all of them."""
    _ = (
        pipeline
        | "ListFiles" >> beam.Create(list(files), reshuffle=False)
        | "SpreadFiles" >> beam.Reshuffle()
        | "IndexFiles" >> beam.ParDo(IndexFiles(plan))
        | "UnderOneKey" >> beam.WithKeys(None)
        | "AsOne" >> beam.GroupByKey()
        | "Commit" >> beam.ParDo(CommitIndexes(plan))
    )
