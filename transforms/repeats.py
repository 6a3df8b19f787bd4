"""Repeats: change records that came before, told by the identifiers of their changes.

DynamoDB's stream into Kinesis may write a change twice, mostly within seconds. The filter remembers
a bounded number of identifiers and nothing of what they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from schemas.changes import ChangeBatch

CAPACITY = 2_000_000

_FRESH = 65_536
"""Identifiers gathered before they are merged with the many: so most merges are of few."""

Hashes = npt.NDArray[np.uint64]
_NONE: Hashes = np.zeros(0, np.uint64)


@dataclass(frozen=True)
class Sifted:
    """Which changes to keep, and how many were repeats. Those without an identifier are kept."""

    keep: npt.NDArray[np.bool_]
    repeats: int
    unidentified: int


class RepeatFilter:
    """Knows the identifiers of about the last ``capacity`` changes, and never less than half.

    Takes 8 bytes for each. Identifiers are told apart by 64 bits: of ten thousand runs with a
    thousand million changes each, about one would lose a change to a chance match. What it has
    sifted must be delivered: where work is done again after a failure, begin with a new filter.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._generation = max(1, capacity // 2)
        self._old = self._young = self._fresh = _NONE

    def __len__(self) -> int:
        """How many identifiers are remembered."""
        return len(self._old) + len(self._young) + len(self._fresh)

    def drop(self, change_id: Any) -> Sifted:
        """Sift an Arrow array of strings, one a change, and remember them.

        Of an identifier that stands in it twice, the first is kept.
        """
        identified = pc.is_valid(change_id).to_numpy(zero_copy_only=False)
        hashes, first = np.unique(_hashes(change_id), return_index=True)
        is_new = ~self._knows(hashes)
        keep = ~identified
        keep[np.flatnonzero(identified)[first[is_new]]] = True
        self._remember(hashes[is_new])
        return Sifted(keep, int(len(keep) - keep.sum()), int(len(keep) - identified.sum()))

    def _knows(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        known = np.zeros(len(hashes), np.bool_)
        for remembered in (self._fresh, self._young, self._old):
            known |= _contained(hashes, remembered)
        return known

    def _remember(self, hashes: Hashes) -> None:
        self._fresh = _merged(self._fresh, hashes)
        if len(self._fresh) >= min(_FRESH, self._generation):
            self._young, self._fresh = _merged(self._young, self._fresh), _NONE
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, _NONE


def drop_repeats(batch: ChangeBatch, known: RepeatFilter) -> ChangeBatch:
    """The batch without repeats of what ``known`` has sifted, which are counted as filtered."""
    sifted = [known.drop(changes.change_id) for changes in batch.typed]
    repeats = sum(found.repeats for found in sifted)
    kept = [
        changes.keep(found.keep) if found.repeats else changes
        for changes, found in zip(batch.typed, sifted, strict=True)
    ]
    return replace(
        batch,
        typed=tuple(changes for changes in kept if len(changes)),
        filtered=batch.filtered + repeats,
        repeats=batch.repeats + repeats,
        unidentified=batch.unidentified + sum(found.unidentified for found in sifted),
    )


def _hashes(change_id: Any) -> Hashes:
    """A hash of each identifier there is."""
    present = change_id.drop_null().cast(pa.binary()).to_pylist()
    return np.fromiter(map(xxhash.xxh3_64_intdigest, present), np.uint64, len(present))


def _contained(hashes: Hashes, remembered: Hashes) -> npt.NDArray[np.bool_]:
    """Which of the hashes are among those remembered; both are sorted."""
    if not len(remembered):
        return np.zeros(len(hashes), np.bool_)
    places = np.searchsorted(remembered, hashes)
    found: npt.NDArray[np.bool_] = remembered[np.minimum(places, len(remembered) - 1)] == hashes
    return found


def _merged(left: Hashes, right: Hashes) -> Hashes:
    both = np.concatenate([left, right])
    both.sort(kind="stable")  # which merges what is sorted already
    return both
