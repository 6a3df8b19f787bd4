"""Erase: files looked through side by side for the rows of subjects, and rewritten without them.

No row crosses a shuffle: a worker stages what it rewrote, and only descriptions of files go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from stores.lake_files import LakeFile
from transforms.erasure.stages import EachFile, FindingsObject, KeepFindings
from transforms.erasure.work import FileWork


def each_file(
    pipeline: beam.Pipeline, files: Sequence[LakeFile], work: FileWork, into: FindingsObject
) -> None:
    """Do some work with each file, and leave what was found."""
    found = spread(pipeline, files) | type(work).__name__ >> beam.ParDo(EachFile(into.store, work))
    keep(found, into)


def spread(pipeline: beam.Pipeline, files: Sequence[LakeFile]) -> Any:
    """The files, dealt out to all workers."""
    return (
        pipeline
        | "ListFiles" >> beam.Create(list(files), reshuffle=False)
        | "SpreadFiles" >> beam.Reshuffle()
    )


def keep(found: Any, into: FindingsObject) -> None:
    """Leave all that was found in one object."""
    _ = (
        found
        | "UnderOneKey" >> beam.WithKeys(None)
        | "AsOne" >> beam.GroupByKey()
        | "KeepFindings" >> beam.ParDo(KeepFindings(into))
    )
