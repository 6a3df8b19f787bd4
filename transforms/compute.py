"""Compute: the fields that a schema derives from others by a named function.

A function takes the type's name and the columns so far, and returns one column. ``COMPUTED`` in
``schemas.registry`` lists the names that a schema may use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.changes import ChangeBatch, TypedChanges

Columns = Mapping[str, Any]


def compute_fields(batch: ChangeBatch) -> ChangeBatch:
    """The batch with every computed field of its types filled."""
    return batch.replace_typed(tuple(map(_compute, batch.typed)))


def reference(type_name: str, columns: Columns) -> Any:
    """``urn:lethe:<type>:<id>:<version>``: one version of one item, for ever."""
    version = columns["version"].cast(pa.string())
    return pc.binary_join_element_wise(f"urn:lethe:{type_name}", columns["id"], version, ":")


def system_id(_: str, columns: Columns) -> Any:
    """What stands before the first ``-`` of ``event_id``, in capitals, if 2-10 letters or digits.

    ``UNKNOWN`` otherwise, as when there is no ``-`` at all.
    """
    found = pc.extract_regex(columns["event_id"], r"^(?P<system>[A-Za-z0-9]{2,10})-")
    return pc.fill_null(pc.utf8_upper(pc.struct_field(found, "system")), "UNKNOWN")


_FUNCTIONS: dict[str, Callable[[str, Columns], Any]] = {
    "reference": reference,
    "system_id": system_id,
}


def _compute(changes: TypedChanges) -> TypedChanges:
    record_type = changes.record_type
    return changes.with_columns(
        {
            field.name: _FUNCTIONS[field.computed](record_type.name, changes.columns)
            for field in record_type.fields
            if field.computed is not None
        }
    )
