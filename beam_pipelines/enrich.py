"""Enrich: contacts that were set aside, asked for batch by batch, into one file in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from schemas.contacts import EnrichmentPlan
from stores.enrichment.client import ApiSettings
from stores.enrichment.work import WorkFolder
from transforms.contacts.progress import Progress
from transforms.contacts.stages import EnrichParts, Publish, Tally


@dataclass(frozen=True)
class Enrichment:
    """What is to be enriched, where the work is kept, and whom to ask.

    ``progress`` tells whoever looks how far the work is.
    """

    plan: EnrichmentPlan
    work: WorkFolder
    api: ApiSettings
    progress: Progress


def enrich(pipeline: beam.Pipeline, enrichment: Enrichment) -> None:
    """Finish all batches, and publish the output when the last one is."""
    tallies = finish_batches(pipeline, enrichment)
    publish(tallies, enrichment)


def finish_batches(pipeline: beam.Pipeline, enrichment: Enrichment) -> Any:
    """Tallies of what was done; no contact crosses a shuffle, the results go to the work folder."""
    fn = EnrichParts(enrichment.work, enrichment.plan, enrichment.api, enrichment.progress)
    return (
        pipeline
        | "ListParts" >> beam.Create(list(enrichment.plan.parts), reshuffle=False)
        | "SpreadParts" >> beam.Reshuffle()
        | "EnrichParts" >> beam.ParDo(fn).with_output_types(Tally)
    )


def publish(tallies: Any, enrichment: Enrichment) -> None:
    """The output, once."""
    _ = (
        tallies
        | "UnderOneKey" >> beam.WithKeys(None)
        | "AsOne" >> beam.GroupByKey()
        | "Publish" >> beam.ParDo(Publish(enrichment.work, enrichment.plan))
    )
