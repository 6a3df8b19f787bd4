"""Deliver: change records from files into the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import apache_beam as beam

from schemas.changes import Block, ChangeBatch
from schemas.inputs import Split
from schemas.registry import Registry
from stores.inputs import InputOpener
from stores.objects.port import ObjectStore
from transforms.compute import compute_fields
from transforms.decode import UnknownFields
from transforms.filter import ChangeFilter, filter_changes
from transforms.mark import mark_changes
from transforms.partition import Partitioning
from transforms.scrub import Scrubber
from transforms.stages import (
    ACCOUNTS,
    CommitDelivery,
    CommitPlan,
    DecodeBlocks,
    GatherAndWrite,
    ReadSplits,
)
from transforms.validate import validate
from transforms.write import LakeWriter, Output


@dataclass(frozen=True)
class Rules:
    """What becomes of a record on its way: the same for every source."""

    registry: Registry
    scrubber: Scrubber
    wanted_types: frozenset[str] | None = None
    wanted: ChangeFilter = field(default_factory=ChangeFilter)
    unknown_fields: UnknownFields = UnknownFields.KEEP
    partitioning: Partitioning = field(default_factory=Partitioning)


@dataclass(frozen=True)
class Destination:
    """Where rows go and how: the lake, the work folder on the way, and the commit at the end.

    ``work`` is None where the workers do not share a file system.
    """

    store: ObjectStore
    output: Output
    work: Path | None
    commit: CommitPlan
    now: datetime


def deliver(
    pipeline: beam.Pipeline,
    splits: Sequence[Split],
    opener: InputOpener,
    rules: Rules,
    destination: Destination,
) -> None:
    """Read the splits, and commit all their rows and dead letters at once."""
    blocks = read(pipeline, splits, opener)
    batches = transform(blocks, rules)
    made = write(batches, rules, destination)
    commit(made, destination)


def survey(
    pipeline: beam.Pipeline,
    splits: Sequence[Split],
    opener: InputOpener,
    rules: Rules,
    destination: Destination,
) -> None:
    """Do all that ``deliver`` does short of writing to the lake; the counts become metrics."""
    blocks = read(pipeline, splits, opener)
    batches = transform(blocks, rules)
    count(batches, rules, destination)


def read(pipeline: beam.Pipeline, splits: Sequence[Split], opener: InputOpener) -> Any:
    """Blocks of documents."""
    return (
        pipeline
        | "PlanSplits" >> beam.Create(list(splits), reshuffle=False)
        | "SpreadSplits" >> beam.Reshuffle()
        | "ReadSplits" >> beam.ParDo(ReadSplits(opener)).with_output_types(Block)
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
        | "Scrub" >> beam.Map(rules.scrubber.scrub).with_output_types(ChangeBatch)
    )


def write(batches: Any, rules: Rules, destination: Destination) -> Sequence[Any]:
    """Staged files, and accounts of what was read and counted.

    No row crosses a shuffle: each worker writes what it decoded.
    """
    lake = LakeWriter(
        destination.store, rules.registry, destination.output, destination.commit.run.run_id
    )
    fn = GatherAndWrite(destination.work, rules.partitioning, destination.now, lake)
    made = batches | "GatherAndWrite" >> beam.ParDo(fn).with_outputs(ACCOUNTS, main="files")
    return made.files, made[ACCOUNTS]


def count(batches: Any, rules: Rules, destination: Destination) -> None:
    """Counts alone, as metrics."""
    fn = GatherAndWrite(destination.work, rules.partitioning, destination.now, None)
    _ = batches | "Gather" >> beam.ParDo(fn).with_outputs(ACCOUNTS, main="files")


def commit(made: Sequence[Any], destination: Destination) -> None:
    """One commit of everything."""
    _ = (
        list(made)
        | "GatherAll" >> beam.Flatten()
        | "UnderOneKey" >> beam.WithKeys(None)
        | "AsOne" >> beam.GroupByKey()
        | "Commit" >> beam.ParDo(CommitDelivery(destination.store, destination.commit))
    )
