"""Replay: dead letters through the delivery again."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_pipelines.deliver import Destination, Rules, commit, spill, transform, write
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
    pieces, accounts = spill(batches, rules, destination)
    files = write(pieces, rules, destination)
    commit([files, accounts], destination)
