"""Enrich: the parts of a contact file, dealt out to workers, to finished parts in the work area."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from transforms.contacts.lanes import Enrichment, Lane
from transforms.contacts.stages import WorkOffLanes


def enrich(pipeline: beam.Pipeline, enrichment: Enrichment, lanes: Sequence[Lane]) -> None:
    """Finish all batches. No contact crosses a shuffle: results go to the work area."""
    _ = (
        pipeline
        | "ListLanes" >> beam.Create(list(lanes), reshuffle=False)
        | "SpreadLanes" >> beam.Reshuffle()
        | "WorkOffLanes" >> beam.ParDo(WorkOffLanes(enrichment))
    )
