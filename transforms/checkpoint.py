"""Checkpoints of a stream's source: how far each shard has been handed on, as versioned JSON.

    {"version":1,"shards":[{"source":"kinesis://eu-west-1/changes/shardId-000000000000",
     "sequence":"4965...","until":"2026-01-02T03:04:05.678Z","ended":false,"start":null}]}

A running job's checkpoints survive an upgrade: members that are not known are passed over, and a
version that is not is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from apache_beam.coders.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark

from schemas.errors import InputError
from schemas.streams import Start

VERSION = 1


class ShardMark(msgspec.Struct, frozen=True):
    """How far a shard has been handed on.

    ``sequence`` is that of the last record, None if there was none; ``until`` the moment up to
    which all that arrived has been handed on. ``ended`` says that there is no more. ``start`` is
    where the shard begins of which no answer has been handed on yet, and None for the others.
    """

    source: str
    sequence: str | None = None
    until: datetime | None = None
    ended: bool = False
    start: Start | None = None


@dataclass(frozen=True)
class StreamMark(CheckpointMark):
    """The shards of a source, sorted by source."""

    shards: tuple[ShardMark, ...] = ()


def stream_mark(shards: Iterable[ShardMark]) -> StreamMark:
    return StreamMark(tuple(sorted(shards, key=lambda shard: shard.source)))


class _Version(msgspec.Struct):
    version: int


class _Document(msgspec.Struct):
    version: int
    shards: tuple[ShardMark, ...]


class StreamMarkCoder(Coder):
    """Encodes equal checkpoints to equal bytes."""

    def encode(self, value: StreamMark) -> bytes:
        return msgspec.json.encode(_Document(VERSION, value.shards))

    def decode(self, encoded: bytes) -> StreamMark:
        """Raises ``InputError`` for a checkpoint of a later version, or of something else."""
        try:
            _check_version(msgspec.json.decode(encoded, type=_Version).version)
            return StreamMark(msgspec.json.decode(encoded, type=_Document).shards)
        except msgspec.MsgspecError as error:
            raise InputError(f"this is no checkpoint of a stream: {error}") from error

    def is_deterministic(self) -> bool:
        return True


def _check_version(version: int) -> None:
    if version != VERSION:
        raise InputError(
            f"the checkpoint has version {version}, and this Lethe reads version {VERSION}: "
            "resume with the Lethe that wrote it, or a later one"
        )
