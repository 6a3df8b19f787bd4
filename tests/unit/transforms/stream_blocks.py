"""Blocks of a shard, as a reader of a stream yields them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from apache_beam.coders import Coder
from apache_beam.coders.coders import PickleCoder
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from schemas.changes import Block, ChangeBatch
from schemas.streams import ShardRange
from tests.unit.transforms import batches
from transforms.compute import compute_fields
from transforms.decode import Decoder
from transforms.mark import mark_changes
from transforms.validate import validate

SHARD = "kinesis://eu-west-1/changes/shardId-000000000000"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def moment(seconds: float) -> datetime:
    """So long after noon."""
    return NOON + timedelta(seconds=seconds)


def event(number: int, updated: float, **changes: Any) -> bytes:
    """The change record of a show that was updated ``updated`` seconds after noon."""
    return batches.event(number, moment(updated).isoformat(), **changes)


def block(
    after: int, documents: list[bytes], arrived: float = 0, source: str = SHARD, last: int = 0
) -> Block:
    """Documents whose sequence numbers follow ``after``, up to ``last`` if that is given."""
    sequences = tuple(str(after + 1 + n) for n in range(len(documents)))
    end = str(last) if last else (sequences[-1] if sequences else None)
    stretch = ShardRange(source, str(after) if after else None, end, moment(arrived))
    return replace(
        batches.block(documents, source),
        sequences=sequences,
        stretch=stretch,
        arrived=moment(arrived) if documents else None,
    )


def batch(found: Block) -> ChangeBatch:
    """The block decoded, validated, marked and computed; all but events is filtered out."""
    decoded = Decoder(batches.REGISTRY, frozenset({"event"})).decode(found)
    return compute_fields(mark_changes(validate(decoded)))


class BlockMark(CheckpointMark):
    def __init__(self, place: int) -> None:
        self.place = place


class _BlockReader(UnboundedReader):
    def __init__(self, blocks: list[Block], place: int) -> None:
        self._blocks = blocks
        self._place = place - 1

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if self._place + 1 >= len(self._blocks):
            return False
        self._place += 1
        return True

    def get_current(self) -> Block:
        return self._blocks[self._place]

    def get_current_timestamp(self) -> Timestamp:
        return Timestamp.from_utc_datetime(self.get_current().stretch.until)

    def get_watermark(self) -> Timestamp:
        if self._place + 1 >= len(self._blocks):
            return MAX_TIMESTAMP
        return Timestamp.from_utc_datetime(self._blocks[self._place + 1].stretch.until)

    def get_checkpoint_mark(self) -> BlockMark:
        return BlockMark(self._place + 1)


class BlockSource(UnboundedSource):
    """An endless source that ends after its blocks."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = blocks

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: BlockMark | None) -> UnboundedReader:
        return _BlockReader(self._blocks, checkpoint_mark.place if checkpoint_mark else 0)

    def get_checkpoint_mark_coder(self) -> Coder:
        return PickleCoder()
