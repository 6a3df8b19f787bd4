"""Mark: say of every row whether its change removed the item, and what the envelope knew."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import TIMESTAMP
from schemas.changes import ChangeBatch, TypedChanges

_NO_TIME = pa.scalar(None, TIMESTAMP)
_NO_TEXT = pa.scalar(None, pa.string())


def mark_changes(batch: ChangeBatch) -> ChangeBatch:
    """The batch with ``deleted``, ``deleted_at``, ``deleted_by``, ``change_time``, ``change_id``.

    ``deleted_by`` tells a removal by the service, because a time-to-live ran out (``ttl``), from
    one that somebody asked for (``request``): DynamoDB names itself in ``userIdentity``.
    """
    return batch.replace_typed(tuple(map(_mark, batch.typed)))


def _mark(changes: TypedChanges) -> TypedChanges:
    deleted = pc.equal(changes.event_name, "REMOVE")
    return changes.with_columns(
        {
            "deleted": deleted,
            "deleted_at": pc.if_else(deleted, changes.change_time, _NO_TIME),
            "deleted_by": pc.if_else(deleted, _by(changes.by_ttl), _NO_TEXT),
            "change_time": changes.change_time,
            "change_id": changes.change_id,
        }
    )


def _by(by_ttl: Any) -> Any:
    return pc.if_else(by_ttl, pa.scalar("ttl"), pa.scalar("request"))
