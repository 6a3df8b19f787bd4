"""Lists of suppressed subjects: whose rows are not to come back after an erasure.

A list is an object of its own, ``_lethe/suppression/<run>.json``, and counts from the log's entry
on that names it and its digest. It holds keyed hashes, and no value in plain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from schemas.erasure import Suppressed, SuppressionRef
from schemas.errors import LakeError, ObjectMissing
from stores.objects.port import ObjectStore

SUPPRESSIONS = "_lethe/suppression/"


def save_suppressions(
    store: ObjectStore, run_id: str, suppressed: Iterable[Suppressed]
) -> SuppressionRef:
    """Write a run's list. It counts once an entry of the log names what is returned."""
    content = msgspec.json.encode(tuple(suppressed))
    key = f"{SUPPRESSIONS}{run_id}.json"
    store.put(key, content)
    return SuppressionRef(key, hashlib.sha256(content).hexdigest())


def load_suppressions(
    store: ObjectStore, refs: Sequence[SuppressionRef], now: datetime
) -> tuple[Suppressed, ...]:
    """All who are suppressed by these lists and not only until a moment before ``now``.

    Raises ``LakeError`` if a list is gone or damaged: who is on it would come back.
    """
    found = (one for ref in refs for one in _load(store, ref))
    return tuple(one for one in found if one.expires_at is None or one.expires_at > now)


def _load(store: ObjectStore, ref: SuppressionRef) -> tuple[Suppressed, ...]:
    try:
        content = store.read(ref.key)
    except ObjectMissing as missing:
        raise _unusable(ref, "is gone") from missing
    if hashlib.sha256(content).hexdigest() != ref.sha256:
        raise _unusable(ref, "is not what the delivery log says")
    return msgspec.json.decode(content, type=tuple[Suppressed, ...])


def _unusable(ref: SuppressionRef, fault: str) -> LakeError:
    return LakeError(
        f"{ref.key}: this list of suppressed subjects {fault}: bring it back from a backup; "
        "without it rows of erased subjects would be delivered again"
    )
