"""Export: files looked through side by side for the rows of a subject, which are put into parts."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_pipelines.erase import spread
from stores.lake_files import LakeFile
from transforms.erasure.search import Wanted
from transforms.export.stages import GatherRows, HaulObject, KeepHaul


def gather_rows(
    pipeline: beam.Pipeline, files: Sequence[LakeFile], wanted: Wanted, into: HaulObject
) -> None:
    """Gather the subject's rows out of files."""
    _ = (
        spread(pipeline, files)
        | "GatherRows" >> beam.ParDo(GatherRows(wanted, into.area))
        | "UnderOneKey" >> beam.WithKeys(None)
        | "AsOne" >> beam.GroupByKey()
        | "KeepHaul" >> beam.ParDo(KeepHaul(into))
    )
