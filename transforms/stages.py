"""The stages as Beam carries them: a few lines each around the functions of their rooms."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from schemas.changes import Block, ChangeBatch
from schemas.delivery import Counts, Partition, summary
from schemas.inputs import Covered, InputFile, Split
from schemas.registry import Registry
from schemas.streams import ShardRange, StreamAddress
from stores.inputs import InputOpener
from stores.log import Commit, DataFile, DeliveryLog, Run
from stores.objects.port import ObjectStore, StagedObject
from stores.streams import open_stream
from transforms.commit import draft_commit, is_quiet
from transforms.decode import Decoder, UnknownFields
from transforms.letters import LetterFilter, letter_blocks
from transforms.partition import Gathering, Partitioning, Piece
from transforms.progress import ProgressFile
from transforms.read import read_split
from transforms.repeats import RepeatFilter, drop_repeats
from transforms.scrub import ScrubKey
from transforms.shards import ShardTask
from transforms.side_by_side import read_tasks
from transforms.suppress import SubjectSieve, SubjectWriter, suppressed_in
from transforms.write import LakeWriter, write_partition

ACCOUNTS = "accounts"

NAMESPACE = "lethe"
"""Namespace of all Beam metrics; their names are those of the report."""


class BatchCoder(beam.coders.Coder):
    """Pickles blocks and batches, should a runner carry them, and tells their size for nothing.

    Beam samples the size of elements as they pass; its default would pickle each one for that.
    """

    def encode(self, value: Block | ChangeBatch) -> bytes:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Any:
        return pickle.loads(encoded)

    def estimate_size(self, value: Block | ChangeBatch) -> int:
        block = value.block if isinstance(value, ChangeBatch) else value
        return block.end - block.start

    def is_deterministic(self) -> bool:
        return False


beam.coders.registry.register_coder(Block, BatchCoder)
beam.coders.registry.register_coder(ChangeBatch, BatchCoder)


@dataclass(frozen=True)
class StreamTask:
    """Shards of one stream for one worker: related ones in order, others side by side."""

    address: StreamAddress
    shards: tuple[ShardTask, ...]


class ReadSplits(beam.DoFn):
    """Splits to blocks; the last one of a split, which is empty, says what was covered."""

    def __init__(self, opener: InputOpener) -> None:
        self._opener = opener

    def process(self, split: Split) -> Iterator[Block]:
        with self._opener.open(split) as stream:
            for found in read_split(stream, split):
                yield _closing_block(found, split) if isinstance(found, Covered) else found


class ReadShards(beam.DoFn):
    """Tasks of a round to the blocks of their shards, up to ``until``."""

    def __init__(self, until: datetime) -> None:
        self._until = until

    def process(self, task: StreamTask) -> Iterator[Block]:
        yield from read_tasks(open_stream(task.address), task.shards, self._until)


class ScrubBatches(beam.DoFn):
    """Batches with their personal values scrubbed."""

    def __init__(self, key: ScrubKey) -> None:
        self._key = key

    def setup(self) -> None:
        self._scrubber = self._key.scrubber()

    def process(self, batch: ChangeBatch) -> Iterator[ChangeBatch]:
        yield self._scrubber.scrub(batch)


class DropRepeats(beam.DoFn):
    """Batches of streams without the changes that came before in the same bundle.

    A change comes again in its own shard or in a child of it, and those are read in one bundle.
    """

    def start_bundle(self) -> None:
        self._filter = RepeatFilter()

    def process(self, batch: ChangeBatch) -> Iterator[ChangeBatch]:
        yield batch if batch.block.stretch is None else drop_repeats(batch, self._filter)


class ReadLetters(beam.DoFn):
    """Dead-letter files to blocks of the records in them that are to be tried again."""

    def __init__(self, store: ObjectStore, chosen: LetterFilter) -> None:
        self._store = store
        self._chosen = chosen

    def process(self, path: str) -> Iterator[Block]:
        with self._store.open(path) as stream:
            yield from letter_blocks(path, stream, self._chosen)


class DecodeBlocks(beam.DoFn):
    """Blocks to batches of typed changes."""

    def __init__(
        self, registry: Registry, wanted: frozenset[str] | None, unknown: UnknownFields
    ) -> None:
        self._arguments = (registry, wanted, unknown)

    def setup(self) -> None:
        self._decoder = Decoder(*self._arguments)

    def process(self, block: Block) -> Iterator[ChangeBatch]:
        yield self._decoder.decode(block)


class GatherAndWrite(beam.DoFn):
    """Batches to staged files: the rows of a bundle by partition, written at the bundle's end.

    The output ``accounts`` has what was read, and how many records became what. ``folder`` is one
    that all workers see; without one each makes its own for what memory does not hold. One that
    ``is_dry`` counts alone: nothing is written to the lake.
    """

    def __init__(
        self,
        folder: Path | None,
        partitioning: Partitioning,
        now: datetime,
        lake: LakeWriter,
        is_dry: bool = False,
    ) -> None:
        self._folder = folder
        self._partitioning = partitioning
        self._now = now
        self._lake = lake
        self._is_dry = is_dry

    def setup(self) -> None:
        self._resources = ExitStack()
        self._work = self._folder or self._own_folder()
        self._progress = ProgressFile(self._work)
        self._sieve = self._opened_sieve()

    def _opened_sieve(self) -> SubjectSieve | None:
        subjects = self._lake.subjects
        # Where nothing is written nobody needs the hashes of subjects that are let in.
        if subjects is None or (self._is_dry and not subjects.suppressions):
            return None
        return subjects.open(self._lake.store, self._now)

    def _own_folder(self) -> Path:
        made = TemporaryDirectory(prefix="lethe-work-")
        return Path(self._resources.enter_context(made))

    def start_bundle(self) -> None:
        self._gathering = Gathering(self._work, self._partitioning, self._now)
        self._counts = Counts()

    def process(self, batch: ChangeBatch) -> Iterator[Any]:
        if self._sieve is not None:
            batch = self._sieve.sift_rejects(batch)
        counts = self._gathering.add(batch)
        self._counts.add(counts)
        block = batch.block
        self._progress.add(block.end - block.start, counts.read, counts.dead_letters)
        for account in (block.covered, block.stretch):
            if account is not None:
                yield beam.pvalue.TaggedOutput(ACCOUNTS, account)

    def finish_bundle(self) -> Iterator[Any]:
        pieces, counts = self._gathering.finish()
        self._counts.add(counts)
        if self._is_dry:
            self._count_suppressed(pieces)
        else:
            yield from map(in_global_window, self._written(pieces))
        self._gathering.clear()
        report_metrics(summary(self._counts))
        yield beam.pvalue.TaggedOutput(ACCOUNTS, in_global_window(self._counts))

    def _count_suppressed(self, pieces: dict[Partition, list[Piece]]) -> None:
        """Count the rows that would be left out; letters of suppressed subjects are out by now."""
        for partition, some in pieces.items():
            if self._sieve is not None and not partition.is_errors:
                record_type = self._lake.registry[partition.name]
                self._counts.add(suppressed_in(partition, some, record_type, self._sieve))

    def _written(self, pieces: dict[Partition, list[Piece]]) -> Iterator[DataFile | StagedObject]:
        """The files of all partitions, and then the containers of their subject indexes."""
        lake = self._lake
        if self._sieve is None:
            for partition in list(pieces):
                yield from write_partition(partition, pieces.pop(partition), lake)
            return
        with SubjectWriter(self._sieve, lake.store, lake.run_id) as subjects:
            files = [
                file
                for partition in list(pieces)
                for file in write_partition(partition, pieces.pop(partition), lake, subjects)
            ]
            indexed = subjects.finish()
            yield from indexed.described(files)
            yield from indexed.containers
            self._counts.add(subjects.counts)

    def teardown(self) -> None:
        self._progress.close()
        self._resources.close()


@dataclass(frozen=True)
class CommitPlan:
    """What the commit of a delivery needs to know of its plan."""

    run: Run
    kind: str
    files: Mapping[str, InputFile]
    removed: tuple[str, ...] = ()
    knows: int = 0
    """The number of the newest suppression that is heeded."""
    reached: Mapping[str, datetime] = field(default_factory=dict)
    """How far shards had been read by time, by source."""


class CommitDelivery(beam.DoFn):
    """All that a delivery made, in one element, to its commit in the log; published.

    A round of streams that held nothing new makes none, unless it is worth knowing how far it was.
    """

    def __init__(self, store: ObjectStore, plan: CommitPlan) -> None:
        self._store = store
        self._plan = plan

    def process(self, keyed: tuple[None, Iterable[Any]]) -> Iterator[Commit]:
        made = list(keyed[1])
        plan = self._plan
        draft = draft_commit(
            plan.run,
            plan.kind,
            [item for item in made if isinstance(item, DataFile)],
            [item for item in made if isinstance(item, Covered)],
            [item for item in made if isinstance(item, ShardRange)],
            [item for item in made if isinstance(item, Counts)],
            plan.files,
            plan.removed,
        )
        indexes = tuple(item for item in made if isinstance(item, StagedObject))
        draft = replace(draft, indexes=indexes, knows=plan.knows)
        if not is_quiet(draft, plan.reached):
            yield DeliveryLog(self._store).commit(plan.run, draft)


def _closing_block(covered: Covered, split: Split) -> Block:
    end = covered.range.end
    nothing = np.zeros(0, np.int64)
    return Block(covered.uri, split.file.format, [], end, end, nothing, covered=covered)


def report_metrics(counts: Mapping[str, Any]) -> None:
    """Add the counts of a ``schemas.delivery.summary`` to the metrics of the report's names."""
    for name, value in counts.items():
        if isinstance(value, dict):
            for key, number in value.items():
                Metrics.counter(NAMESPACE, f"{name}.{key}").inc(number)
        else:
            Metrics.counter(NAMESPACE, name).inc(value)


def in_global_window(value: Any) -> WindowedValue:
    """What a bundle yields at its end, where no element gives it a window."""
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])
