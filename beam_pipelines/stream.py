"""Stream: change records from a stream without end into the lake, window by window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from beam_pipelines.deliver import Rules, transform
from schemas.changes import Block
from schemas.stream_ledger import BlockAccount
from stores.log import Run
from stores.objects.port import ObjectStore
from stores.stream_log import StagedPane
from transforms.cut import RowPiece, check_windows
from transforms.panes import Pane
from transforms.rotate import Rotate, Windowing
from transforms.stages import ACCOUNTS
from transforms.stream_stages import CommitStream, CutBatches, SkipDelivered, WritePanes
from transforms.suppress import SubjectRules
from transforms.write import LakeWriter, Output


@dataclass(frozen=True)
class StreamDestination:
    """Where rows go and how: the lake, its files, and the run whose commits bring them."""

    store: ObjectStore
    output: Output
    run: Run
    windowing: Windowing = field(default_factory=Windowing)


def deliver_stream(
    pipeline: beam.Pipeline, source: Any, rules: Rules, destination: StreamDestination
) -> None:
    """Read a stream on and on, and commit its rows and dead letters window by window.

    ``source`` is a transform that yields blocks with ``sequences`` and ``stretch``. Raises
    ``UsageError`` if the rules have no windows.
    """
    check_windows(rules.partitioning)
    blocks = read(pipeline, source, destination)
    batches = transform(blocks, rules)
    pieces, accounts = cut(batches, rules)
    panes = rotate(pieces, destination)
    staged = write(panes, rules, destination)
    commit(staged, accounts, destination)


def read(pipeline: beam.Pipeline, source: Any, destination: StreamDestination) -> Any:
    """Blocks of documents that are not delivered yet, or not wholly."""
    fn = SkipDelivered(destination.store)
    return (
        pipeline
        | "ReadStream" >> source
        | "SkipDelivered" >> beam.ParDo(fn).with_output_types(Block)
    )


def cut(batches: Any, rules: Rules) -> tuple[Any, Any]:
    """Pieces keyed by portion, and accounts of what was read."""
    fn = CutBatches(rules.partitioning)
    made = batches | "CutBatches" >> beam.ParDo(fn).with_outputs(ACCOUNTS, main="pieces")
    pieces = made.pieces | "Pieces" >> beam.Map(lambda keyed: keyed).with_output_types(
        tuple[str, RowPiece]
    )
    return pieces, made[ACCOUNTS]


def rotate(pieces: Any, destination: StreamDestination) -> Any:
    """Panes: the rows of a portion that are to be delivered together."""
    fn = Rotate(destination.windowing)
    return pieces | "Rotate" >> beam.ParDo(fn).with_output_types(Pane)


def write(panes: Any, rules: Rules, destination: StreamDestination) -> Any:
    """Staged files."""
    lake = LakeWriter(
        destination.store,
        rules.registry,
        destination.output,
        destination.run.run_id,
        SubjectRules(rules.scrub_key),
    )
    return panes | "WritePanes" >> beam.ParDo(WritePanes(lake)).with_output_types(StagedPane)


def commit(staged: Any, accounts: Any, destination: StreamDestination) -> None:
    """Commits of what is new in the log."""
    _ = (
        (staged, accounts)
        | "Gather" >> beam.Flatten()
        | "UnderOneKey"
        >> beam.Map(lambda item: ("", item)).with_output_types(
            tuple[str, StagedPane | BlockAccount]
        )
        | "CommitStream" >> beam.ParDo(CommitStream(destination.store, destination.run))
    )
