"""What an entry of the delivery log holds, and where entries lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from schemas.delivery import Counts, Partition, summary
from schemas.erasure import ErasedFile, IndexedFile, IndexRef, SuppressionRef
from schemas.errors import LakeError
from schemas.inputs import SourcePosition
from schemas.stream_log import Streamed
from schemas.streams import ShardRange
from stores.objects.port import StagedObject

LOG = "_lethe/log/"

ABANDONED = "abandoned"
"""The kind of a log entry without files: its run ended before it could commit."""

STREAM = "stream"
"""The kind of a commit of a run that reads a stream without end."""

ERASE = "erase"
"""The kind of an entry that replaces files under their own names, or removes what it emptied."""

COMPACT = "compact"
"""The kind of an entry that puts files in the place of others, with the same rows."""

INDEX = "index"
"""The kind of an entry that brings subject indexes of files that are there."""

SUPPRESS = "suppress"
"""The kind of an entry from which on subjects are suppressed; it has no files."""

REPLACING = frozenset({ERASE, COMPACT})
"""Kinds whose files hold no rows but those that were in the lake before."""

VERSION = 1


@dataclass(frozen=True)
class DataFile:
    """A file of a commit. ``earliest`` and ``latest`` are event times in epoch microseconds.

    ``index`` says where the hashes of its subjects are; None if they were not gathered.
    """

    partition: Partition
    format: str
    codec: str
    rows: int
    earliest: int | None
    latest: int | None
    fingerprint: str | None
    staged: StagedObject
    index: IndexRef | None = None

    @property
    def path(self) -> str:
        return self.staged.key


@dataclass(frozen=True)
class Commit:
    """One delivery, as the log keeps it.

    ``counts`` is ``schemas.delivery.summary``; ``removed`` are the paths of files that this
    commit takes out of the lake: dead letters that were replayed, what an erasure emptied, what a
    compaction put together. ``shards`` are stretches that are delivered wholly from now on;
    ``streamed`` says of which portions more is delivered.

    Of an erasure ``erased`` says what was replaced under its own name: the new content is among
    ``files``, and what had none left among ``removed``; ``erasure`` is the id that its entries
    share. ``indexes`` hold the subject indexes of the files, and ``indexed`` names files of earlier
    entries that have got another one. ``suppressed`` begins a suppression,
    and ``knows`` is the number of the newest one that the files' writers heeded. ``cleansed`` are
    the commits out of which late rows of suppressed subjects were taken.
    """

    number: int
    run_id: str
    kind: str
    committed_at: datetime
    files: tuple[DataFile, ...]
    sources: tuple[SourcePosition, ...]
    counts: dict[str, Any]
    removed: tuple[str, ...] = ()
    version: int = VERSION
    shards: tuple[ShardRange, ...] = ()
    streamed: tuple[Streamed, ...] = ()
    erasure: str = ""
    erased: tuple[ErasedFile, ...] = ()
    indexes: tuple[StagedObject, ...] = ()
    suppressed: SuppressionRef | None = None
    knows: int = 0
    cleansed: tuple[int, ...] = ()
    indexed: tuple[IndexedFile, ...] = ()

    @property
    def taken(self) -> set[str]:
        """Paths that were in the lake before, and hold another content from now on, or none."""
        return {*self.removed, *(file.path for file in self.erased)}


def bare_entry(run_id: str, kind: str, at: datetime) -> Commit:
    """An entry of a run that has read no records; ``replace`` says what it has done instead."""
    return Commit(0, run_id, kind, at, (), (), summary(Counts()))


def log_key(number: int) -> str:
    """Where the entry of this number lies."""
    return f"{LOG}{number:020d}.json"


def number_of(key: str) -> int:
    """The number of the entry that lies there. Raises ``LakeError`` if there can be none."""
    name = key.removeprefix(LOG).removesuffix(".json")
    if not name.isdecimal():
        raise LakeError(f"{key}: is no log entry: its name must be a number and .json")
    return int(name)


def decode_as(kind: type[Any], key: str, content: bytes) -> Any:
    """What an object of the log holds. Raises ``LakeError``, which names it, if it is damaged."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise LakeError(f"{key}: is no {kind.__name__.lstrip('_').lower()}: {error}") from error
