"""Filter: leave out changes by event name and time. Types are filtered while decoding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import TIMESTAMP
from schemas.changes import ChangeBatch, TypedChanges


@dataclass(frozen=True)
class ChangeFilter:
    """Which changes are wanted; an empty field means any.

    ``since`` is inclusive, ``until`` exclusive; both apply to the change's partition time, so
    that the same filter picks the same rows from a stream and from an export.
    """

    events: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.events or self.since or self.until)


def filter_changes(batch: ChangeBatch, wanted: ChangeFilter) -> ChangeBatch:
    """The batch without the changes that are not wanted, which are counted as filtered."""
    if not wanted:
        return batch
    kept = tuple(_filter_typed(changes, wanted) for changes in batch.typed)
    left_out = sum(map(len, batch.typed)) - sum(map(len, kept))
    return replace(batch, typed=kept, filtered=batch.filtered + left_out)


def _filter_typed(changes: TypedChanges, wanted: ChangeFilter) -> TypedChanges:
    masks = []
    if wanted.events:
        masks.append(pc.is_in(changes.event_name, pa.array(sorted(wanted.events))))
    moment = changes.columns[changes.record_type.partition_field.name].cast(TIMESTAMP)
    if wanted.since is not None:
        masks.append(pc.greater_equal(moment, pa.scalar(wanted.since, TIMESTAMP)))
    if wanted.until is not None:
        masks.append(pc.less(moment, pa.scalar(wanted.until, TIMESTAMP)))
    return changes.keep(_all(masks))


def _all(masks: list[Any]) -> Any:
    return np.logical_and.reduce([mask.to_numpy(zero_copy_only=False) for mask in masks])
