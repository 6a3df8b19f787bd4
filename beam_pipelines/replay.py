"""Replay: dead letters through the delivery again."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_pipelines.deliver import Destination, Rules, commit, transform, write
from schemas.changes import Block
from transforms.letters import LetterFilter
from transforms.stages import ReadLetters


def replay(
    pipeline: beam.Pipeline,
    paths: Sequence[str],
    chosen: LetterFilter,
    rules: Rules,
    destination: Destination,
) -> None:
    """Deliver the chosen letters of some files; the commit takes the files out of the lake."""
    blocks = (
        pipeline
        | "ListLetters" >> beam.Create(list(paths), reshuffle=False)
        | "SpreadLetters" >> beam.Reshuffle()
        | "ReadLetters"
        >> beam.ParDo(ReadLetters(destination.store, chosen)).with_output_types(Block)
    )
    batches = transform(blocks, rules)
    made = write(batches, rules, destination)
    commit(made, destination)
