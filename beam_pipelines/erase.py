"""Erase: files looked through side by side for the rows of subjects, and rewritten without them.

No row crosses a shuffle: a worker stages what it rewrote, and only descriptions of files go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from schemas.erasure import ErasureMode
from stores.lake_files import LakeFile
from transforms.erasure.second_look import SecondLook
from transforms.erasure.stages import (
    CountMatches,
    FindingsObject,
    KeepFindings,
    LookAgain,
    RewriteFiles,
    Sought,
)


def find_subjects(
    pipeline: beam.Pipeline, files: Sequence[LakeFile], sought: Sought, into: FindingsObject
) -> None:
    """Count the subjects' rows in each file."""
    counted = spread(pipeline, files) | "CountMatches" >> beam.ParDo(
        CountMatches(into.store, sought)
    )
    keep(counted, into)


def rewrite_files(
    pipeline: beam.Pipeline,
    files: Sequence[LakeFile],
    sought: Sought,
    mode: ErasureMode,
    run_id: str,
    into: FindingsObject,
) -> None:
    """Stage each file without the subjects' rows, or with these redacted."""
    erased = spread(pipeline, files) | "RewriteFiles" >> beam.ParDo(
        RewriteFiles(into.store, run_id, sought, mode)
    )
    keep(erased, into)


def look_again(
    pipeline: beam.Pipeline, files: Sequence[LakeFile], sought: SecondLook, into: FindingsObject
) -> None:
    """Look through all files once more, in another way."""
    seen = spread(pipeline, files) | "LookAgain" >> beam.ParDo(LookAgain(into.store, sought))
    keep(seen, into)


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
