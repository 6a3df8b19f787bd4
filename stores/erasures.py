"""Erasures under way, so that one that was killed is gone on with under its own name.

A record lies in the lake from an erasure's beginning until its certificate is written::

    _lethe/erasures/<id>.json       whose it is, and of whom, as keyed hashes
    _lethe/erasures/<id>/<n>.json   what its pipelines find, for a moment
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from schemas.erasure import ErasureMode
from schemas.errors import LakeError, ObjectMissing
from stores.log import Owner
from stores.objects.port import ObjectStore

ERASURES = "_lethe/erasures/"


@dataclass(frozen=True)
class ErasureRecord:
    """An erasure that has begun. ``subjects`` are keyed hashes of the identities, sorted."""

    id: str
    owner: Owner
    began_at: datetime
    mode: ErasureMode
    subjects: tuple[str, ...]
    plus_addressing: bool = False

    @property
    def is_abandoned(self) -> bool:
        """Whether it is certain that nobody goes on with it."""
        return self.owner.is_here() and not self.owner.is_running()


def keep_record(store: ObjectStore, record: ErasureRecord) -> None:
    """Write the record, or write it anew."""
    store.put(_key(record.id), msgspec.json.encode(record))


def find_record(store: ObjectStore, erasure_id: str) -> ErasureRecord | None:
    """The record of this erasure, unless it has ended. Raises ``LakeError`` for a damaged one."""
    try:
        content = store.read(_key(erasure_id))
    except ObjectMissing:
        return None
    try:
        return msgspec.json.decode(content, type=ErasureRecord)
    except msgspec.MsgspecError:
        raise LakeError(f"{_key(erasure_id)}: is damaged: remove it and erase again") from None


def abandoned_record(
    store: ObjectStore, subjects: tuple[str, ...], mode: ErasureMode, plus_addressing: bool
) -> ErasureRecord | None:
    """The same erasure of these subjects whose process is gone, the newest if there are several."""
    wanted = subjects, mode, plus_addressing
    found = [
        record
        for record in _records(store)
        if (record.subjects, record.mode, record.plus_addressing) == wanted and record.is_abandoned
    ]
    return max(found, key=lambda record: record.began_at, default=None)


def end_record(store: ObjectStore, erasure_id: str) -> None:
    """Forget the record, and what pipelines have left."""
    for info in list(store.list(f"{ERASURES}{erasure_id}/")):
        store.delete(info.key)
    store.delete(_key(erasure_id))


def sweep_records(store: ObjectStore, before: datetime) -> None:
    """Forget erasures that had begun before this and that nobody has gone on with."""
    for record in list(_records(store)):
        if record.began_at < before:
            end_record(store, record.id)


def findings_key(erasure_id: str, name: str) -> str:
    """Where a pipeline of the erasure leaves what it found."""
    return f"{ERASURES}{erasure_id}/{name}.json"


def _records(store: ObjectStore) -> Iterator[ErasureRecord]:
    for info in list(store.list(ERASURES)):
        name = info.key.removeprefix(ERASURES)
        if "/" not in name:
            record = find_record(store, name.removesuffix(".json"))
            if record is not None:
                yield record


def _key(erasure_id: str) -> str:
    return f"{ERASURES}{erasure_id}.json"
