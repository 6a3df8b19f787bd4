"""Erasures under way, so that one that was killed is gone on with under its own name.

A record lies in the lake from an erasure's beginning until its certificate is written::

    _lethe/erasures/<id>.json       whose it is, and of whom, as keyed hashes
    _lethe/erasures/<id>/<n>.json   what its pipelines find, for a moment
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from schemas.erasure import ErasureMode
from schemas.errors import LakeError, ObjectChanged, ObjectMissing
from stores.log import STALE_AFTER, Owner
from stores.objects.port import ObjectInfo, ObjectStore

ERASURES = "_lethe/erasures/"


@dataclass(frozen=True)
class ErasureRecord:
    """An erasure that has begun. ``subjects`` are keyed hashes of the identities, sorted.

    ``after`` is the newest entry of the lake's log when it began: its own come later.
    """

    id: str
    owner: Owner
    began_at: datetime
    mode: ErasureMode
    subjects: tuple[str, ...]
    plus_addressing: bool = False
    after: int = 0

    def is_abandoned(self, silent: timedelta) -> bool:
        """Whether nobody goes on with it; on another machine that shows in its silence."""
        if self.owner.is_here():
            return not self.owner.is_running()
        return silent.total_seconds() >= STALE_AFTER


def keep_record(store: ObjectStore, record: ErasureRecord) -> None:
    """Write the record; or write it anew, which says that somebody goes on with it."""
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


def take_over(store: ObjectStore, new: ErasureRecord, now: datetime) -> ErasureRecord | None:
    """The same erasure as this new one whose process is gone: from now on it is the new one's.

    The newest if there are several. None if there is none, or another process was first.
    """
    found = [
        (info, record)
        for info, record in _records(store)
        if _asked_for(record) == _asked_for(new) and record.is_abandoned(now - info.modified)
    ]
    if not found:
        return None
    info, record = max(found, key=lambda one: one[1].began_at)
    ours = replace(record, owner=new.owner)
    try:
        store.put_if_match(info.key, msgspec.json.encode(ours), info.etag)
    except ObjectChanged:
        return None
    return ours


def _asked_for(record: ErasureRecord) -> tuple[object, ...]:
    return record.subjects, record.mode, record.plus_addressing


def end_record(store: ObjectStore, erasure_id: str) -> None:
    """Forget the record, and what pipelines have left."""
    for info in list(store.list(f"{ERASURES}{erasure_id}/")):
        store.delete(info.key)
    store.delete(_key(erasure_id))


def sweep_records(store: ObjectStore, before: datetime) -> None:
    """Forget erasures that had begun before this and that nobody has gone on with."""
    for _, record in list(_records(store)):
        if record.began_at < before:
            end_record(store, record.id)


def findings_key(erasure_id: str, name: str) -> str:
    """Where a pipeline of the erasure leaves what it found."""
    return f"{ERASURES}{erasure_id}/{name}.json"


def _records(store: ObjectStore) -> Iterator[tuple[ObjectInfo, ErasureRecord]]:
    for info in list(store.list(ERASURES)):
        name = info.key.removeprefix(ERASURES)
        if "/" not in name:
            record = find_record(store, name.removesuffix(".json"))
            if record is not None:
                yield info, record


def _key(erasure_id: str) -> str:
    return f"{ERASURES}{erasure_id}.json"
