"""Lists of suppressed subjects: whose rows are not to come back after an erasure.

A list is an object of its own, ``_lethe/suppression/<run>.json``, and counts from the log's entry
on that names it and its digest. It holds keyed hashes, and no value in plain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from schemas.erasure import Suppressed, SuppressionRef
from schemas.errors import LakeError, ObjectMissing
from stores.objects.port import ObjectStore

SUPPRESSIONS = "_lethe/suppression/"

_LOOKED_FOR = timedelta(days=30)
"""How long after a suppression has expired a delivery from before may be looked through for it."""


@dataclass(frozen=True)
class Merged:
    """A new list that takes the place of some older ones: those of the entries ``holds``."""

    suppressed: tuple[Suppressed, ...]
    holds: tuple[int, ...] = ()


def merged_suppressions(
    store: ObjectStore, refs: Sequence[SuppressionRef], new: Sequence[Suppressed], now: datetime
) -> Merged:
    """New subjects together with those of older lists that are not longer than what is gathered.

    So however many erasures there are, there are few lists, and few of them are written again. A
    list on which somebody's time has just run out is left alone: it says for whom late rows are
    looked for. Raises ``LakeError`` if a list is gone or damaged.
    """
    gathered, holds = list(new), list[int]()
    for ref in reversed(refs):
        left = [one for one in _load(store, ref) if not _expired_by(one, now - _LOOKED_FOR)]
        if len(left) <= len(gathered) and not any(_expired_by(one, now) for one in left):
            gathered += left
            holds.append(ref.number)
    return Merged(tuple(dict.fromkeys(gathered)), tuple(sorted(holds)))


def save_suppressions(
    store: ObjectStore, run_id: str, suppressed: Iterable[Suppressed], holds: tuple[int, ...] = ()
) -> SuppressionRef:
    """Write a run's list. It counts once an entry of the log names what is returned."""
    content = msgspec.json.encode(tuple(suppressed))
    key = f"{SUPPRESSIONS}{run_id}.json"
    store.put(key, content)
    return SuppressionRef(key, hashlib.sha256(content).hexdigest(), holds=holds)


def load_suppressions(
    store: ObjectStore, refs: Sequence[SuppressionRef], now: datetime
) -> tuple[Suppressed, ...]:
    """All who are suppressed by these lists and not only until a moment before ``now``.

    Raises ``LakeError`` if a list is gone or damaged: who is on it would come back.
    """
    found = (one for ref in refs for one in _load(store, ref))
    return tuple(one for one in found if not _expired_by(one, now))


def _expired_by(one: Suppressed, moment: datetime) -> bool:
    return one.expires_at is not None and one.expires_at <= moment


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
