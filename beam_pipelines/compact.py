"""Compact: small files of closed partitions into few, as one commit."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from transforms.compact import Merge
from transforms.compact_stages import CommitCompaction, CompactionPlan, MergeFiles


def compact(pipeline: beam.Pipeline, merges: Sequence[Merge], plan: CompactionPlan) -> None:
    """Put files together side by side, and commit all that nobody changed meanwhile."""
    merged = (
        pipeline
        | "PlanMerges" >> beam.Create(list(merges), reshuffle=False)
        | "SpreadMerges" >> beam.Reshuffle()
        | "MergeFiles" >> beam.ParDo(MergeFiles(plan))
    )
    _ = (
        merged
        | "UnderOneKey" >> beam.WithKeys(None)
        | "AsOne" >> beam.GroupByKey()
        | "Commit" >> beam.ParDo(CommitCompaction(plan))
    )
