"""Deliver: change records from files and streams into the lake, up to now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import apache_beam as beam

from schemas.changes import Block, ChangeBatch
from schemas.erasure import SuppressionRef
from schemas.inputs import Split
from schemas.registry import Registry
from schemas.stream_log import ShardState
from stores.inputs import InputOpener
from stores.objects.port import ObjectStore
from transforms.compute import compute_fields
from transforms.cut import drop_delivered
from transforms.decode import UnknownFields
from transforms.filter import ChangeFilter, filter_changes
from transforms.mark import mark_changes
from transforms.partition import Partitioning
from transforms.scrub import ScrubKey
from transforms.shards import shard_count
from transforms.stages import (
    ACCOUNTS,
    CommitDelivery,
    CommitPlan,
    DecodeBlocks,
    DropRepeats,
    GatherAndWrite,
    ReadShards,
    ReadSplits,
    ScrubBatches,
    StreamTask,
)
from transforms.suppress import SubjectRules
from transforms.validate import validate
from transforms.write import LakeWriter, Output


@dataclass(frozen=True)
class Rules:
    """What becomes of a record on its way: the same for every source."""

    registry: Registry
    scrub_key: ScrubKey
    wanted_types: frozenset[str] | None = None
    wanted: ChangeFilter = field(default_factory=ChangeFilter)
    unknown_fields: UnknownFields = UnknownFields.KEEP
    partitioning: Partitioning = field(default_factory=Partitioning)


@dataclass(frozen=True)
class Sources:
    """What is to be read: parts of files, and shards of streams up to a moment.

    ``delivered`` says of shards what a delivery without end has delivered ahead of their positions.
    """

    splits: Sequence[Split]
    opener: InputOpener
    shards: Sequence[StreamTask] = ()
    until: datetime = datetime.min
    delivered: Mapping[str, ShardState] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many parts can be read side by side."""
        return len(self.splits) + len(self.shards)

    @property
    def shard_count(self) -> int:
        """How many shards are to be read."""
        return sum(shard_count(part.shards) for part in self.shards)


@dataclass(frozen=True)
class Destination:
    """Where rows go and how: the lake, the work folder on the way, and the commit at the end.

    ``work`` is None where workers do not see this machine's folders. ``suppressions`` are the lists
    of subjects whose rows are left out, up to that which ``commit`` knows.
    """

    store: ObjectStore
    output: Output
    work: Path | None
    commit: CommitPlan
    now: datetime
    suppressions: tuple[SuppressionRef, ...] = ()


def deliver(
    pipeline: beam.Pipeline, sources: Sources, rules: Rules, destination: Destination
) -> None:
    """Read the sources, and commit all their rows and dead letters at once."""
    blocks = read(pipeline, sources)
    batches = without_repeats(transform(blocks, rules), sources)
    made = write(batches, rules, destination)
    commit(made, destination)


def survey(
    pipeline: beam.Pipeline, sources: Sources, rules: Rules, destination: Destination
) -> None:
    """Do all that ``deliver`` does short of writing to the lake; the counts become metrics."""
    blocks = read(pipeline, sources)
    batches = without_repeats(transform(blocks, rules), sources)
    count(batches, rules, destination)


def read(pipeline: beam.Pipeline, sources: Sources) -> Any:
    """Blocks of documents, from files and from streams."""
    found = [read_files(pipeline, sources)] if sources.splits else []
    found += [read_shards(pipeline, sources)] if sources.shards else []
    return found[0] if len(found) == 1 else found | "AllBlocks" >> beam.Flatten()


def read_files(pipeline: beam.Pipeline, sources: Sources) -> Any:
    """Blocks of the splits."""
    return (
        pipeline
        | "PlanSplits" >> beam.Create(list(sources.splits), reshuffle=False)
        | "SpreadSplits" >> beam.Reshuffle()
        | "ReadSplits" >> beam.ParDo(ReadSplits(sources.opener)).with_output_types(Block)
    )


def read_shards(pipeline: beam.Pipeline, sources: Sources) -> Any:
    """Blocks of the shards."""
    return (
        pipeline
        | "PlanShards" >> beam.Create(list(sources.shards), reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()
        | "ReadShards" >> beam.ParDo(ReadShards(sources.until)).with_output_types(Block)
    )


def without_repeats(batches: Any, sources: Sources) -> Any:
    """Batches without what streams brought twice, or had delivered before."""
    if not sources.shards:
        return batches
    return (
        batches
        | "DropRepeats" >> beam.ParDo(DropRepeats()).with_output_types(ChangeBatch)
        | "DropDelivered"
        >> beam.Map(drop_delivered, sources.delivered).with_output_types(ChangeBatch)
    )


def transform(blocks: Any, rules: Rules) -> Any:
    """Batches of rows as the lake will hold them."""
    return (
        blocks
        | "Decode"
        >> beam.ParDo(
            DecodeBlocks(rules.registry, rules.wanted_types, rules.unknown_fields)
        ).with_output_types(ChangeBatch)
        | "Filter" >> beam.Map(filter_changes, rules.wanted).with_output_types(ChangeBatch)
        | "Validate" >> beam.Map(validate).with_output_types(ChangeBatch)
        | "Mark" >> beam.Map(mark_changes).with_output_types(ChangeBatch)
        | "Compute" >> beam.Map(compute_fields).with_output_types(ChangeBatch)
        | "Scrub" >> beam.ParDo(ScrubBatches(rules.scrub_key)).with_output_types(ChangeBatch)
    )


def write(batches: Any, rules: Rules, destination: Destination) -> Sequence[Any]:
    """Staged files, and accounts of what was read and counted.

    No row crosses a shuffle: each worker writes what it decoded.
    """
    lake = _lake_writer(rules, destination)
    fn = GatherAndWrite(destination.work, rules.partitioning, destination.now, lake)
    made = batches | "GatherAndWrite" >> beam.ParDo(fn).with_outputs(ACCOUNTS, main="files")
    return made.files, made[ACCOUNTS]


def count(batches: Any, rules: Rules, destination: Destination) -> None:
    """Counts alone, as metrics."""
    lake = _lake_writer(rules, destination)
    fn = GatherAndWrite(destination.work, rules.partitioning, destination.now, lake, is_dry=True)
    _ = batches | "Gather" >> beam.ParDo(fn).with_outputs(ACCOUNTS, main="files")


def _lake_writer(rules: Rules, destination: Destination) -> LakeWriter:
    return LakeWriter(
        destination.store,
        rules.registry,
        destination.output,
        destination.commit.run.run_id,
        SubjectRules(rules.scrub_key, destination.suppressions),
    )


def commit(made: Sequence[Any], destination: Destination) -> None:
    """One commit of everything."""
    _ = (
        list(made)
        | "GatherAll" >> beam.Flatten()
        | "UnderOneKey" >> beam.WithKeys(None)
        | "AsOne" >> beam.GroupByKey()
        | "Commit" >> beam.ParDo(CommitDelivery(destination.store, destination.commit))
    )
