"""Compact: small files of a closed partition become one, under a name made of theirs.

Rows stay as they are: row groups of Parquet files are gathered into full ones, blocks of Avro
files are copied byte for byte. Only files of the same schema, format and codec are put together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import xxhash

from schemas.delivery import Partition
from schemas.erasure import FileKind
from stores.lake_files import LakeFile
from stores.log import DataFile


@dataclass(frozen=True)
class Merge:
    """Files of one partition, alike in all that a reader sees, which become one."""

    inputs: tuple[LakeFile, ...]

    @property
    def model(self) -> DataFile:
        """What they are alike in, as the log has it of the first."""
        logged = self.inputs[0].logged
        assert logged is not None
        return logged

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(file.info.key for file in self.inputs)

    @property
    def size(self) -> int:
        return sum(file.info.size for file in self.inputs)

    @property
    def is_worthwhile(self) -> bool:
        """Whether there would be fewer files."""
        return len(self.inputs) > 1

    def without(self, path: str) -> Merge:
        """The others put together."""
        return Merge(tuple(file for file in self.inputs if file.info.key != path))

    @property
    def key(self) -> str:
        """Where the one file will be. Made of the inputs' names, so that a retry makes it again."""
        model = self.model
        names = xxhash.xxh3_64_hexdigest("\0".join(self.paths).encode())
        schema = (model.fingerprint or "")[:8]
        return f"{model.partition.folder}/{names}-merged-{schema}-000.{model.format}"


@dataclass(frozen=True)
class CompactionRules:
    """Which files are put together: those of partitions that nothing joined since a moment.

    ``target`` is the size in bytes that a file is to have; one of half of it is left as it is, so
    that a row is not copied again and again.
    """

    target: int
    closed_before: datetime


def plan_merges(files: Iterable[LakeFile], rules: CompactionRules) -> list[Merge]:
    """What to put together, by partition. Files that the log does not know are left alone."""
    by_folder: dict[str, list[LakeFile]] = defaultdict(list)
    for file in files:
        if file.kind is FileKind.DATA:
            by_folder[file.info.key.rpartition("/")[0]].append(file)
    return [
        merge
        for _, found in sorted(by_folder.items())
        if _is_closed(found, rules.closed_before)
        for alike in _alike(found, rules.target // 2)
        for merge in _merges(alike, rules.target)
    ]


def _is_closed(files: Sequence[LakeFile], moment: datetime) -> bool:
    return all((file.committed_at or file.info.modified) < moment for file in files)


def _alike(files: Sequence[LakeFile], limit: int) -> Iterator[list[LakeFile]]:
    groups: dict[tuple[Partition, str, str, str | None], list[LakeFile]] = defaultdict(list)
    for file in files:
        logged = file.logged
        if logged is None or logged.fingerprint is None:
            continue  # others wrote it, even if an erasure has rewritten it since
        # A copy of a lake has other times and tags; what is read is what is merged.
        if file.info.size != logged.staged.size or file.info.size >= limit:
            continue
        kind = logged.partition, logged.format, logged.codec, logged.fingerprint
        groups[kind].append(file)
    yield from (sorted(group, key=_order) for group in groups.values())


def _order(file: LakeFile) -> tuple[int, str]:
    """By time, so that a file's rows lie close together in time."""
    earliest = None if file.logged is None else file.logged.earliest
    return earliest or 0, file.info.key


def _merges(files: Sequence[LakeFile], target: int) -> Iterator[Merge]:
    held: list[LakeFile] = []
    for file in files:
        if held and sum(one.info.size for one in held) + file.info.size > target:
            yield from _worthwhile(held)
            held = []
        held.append(file)
    yield from _worthwhile(held)


def _worthwhile(files: Sequence[LakeFile]) -> Iterator[Merge]:
    merge = Merge(tuple(files))
    if merge.is_worthwhile:
        yield merge
