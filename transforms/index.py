"""Index: which hashes a file's set is made of, and which are looked for in sets.

The rule is the same for whoever writes a set, finds by it, or makes it anew: the near hashes of all
values of the columns that identify subjects, of emails with a tag in both forms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.dsr import Identity
from schemas.fields import Field, RecordType
from schemas.registry import Registry
from stores.subject_index import Hashes, IndexStamp, Probes
from transforms.subject_columns import (
    SubjectColumn,
    holds_subject,
    members_of,
    subject_column_names,
    subject_columns,
)
from transforms.subject_hashes import NearForms, SubjectHasher

_SCHEME = "near-1"
"""Names how hashes are made; another one makes all sets that there are untrusted."""

_SCHEME_OF_LETTERS = "near-2"
"""Of types with names beyond ASCII: earlier sets lack what lies under such a name in ``extra``."""


@dataclass(frozen=True)
class HashedColumn:
    """A column of values that identify subjects, with its hashes; of nulls there are none."""

    column: SubjectColumn
    forms: NearForms


def hashed_columns(
    record_type: RecordType, rows: pa.Table, hasher: SubjectHasher
) -> list[HashedColumn]:
    """The subject columns of some rows. Raises ``SchemaError`` as ``subject_columns`` does."""
    return [
        HashedColumn(column, hasher.near_forms(column.values, column.type))
        for batch in _one_batch(record_type, rows)
        for column in subject_columns(record_type, batch)
    ]


def hashes_of(columns: Iterable[HashedColumn]) -> Iterator[Hashes]:
    """What goes into the set of a file."""
    for column in columns:
        yield column.forms.near
        yield column.forms.untagged


def stamp_of(record_type: RecordType, hasher: SubjectHasher) -> IndexStamp:
    """What a set of a type's file is made with: it changes with the fields that identify."""
    is_ascii = all(field.source.isascii() for _, field in record_type.subjects)
    scheme = _SCHEME if is_ascii else _SCHEME_OF_LETTERS
    rule = json.dumps([scheme, [*_rules(record_type.fields)]])
    return IndexStamp(hasher.fingerprint, hashlib.sha256(rule.encode()).hexdigest()[:16])


def probes_for(
    identities: Iterable[Identity], registry: Registry, hasher: SubjectHasher
) -> Probes | None:
    """What to look for in sets; None if no set can tell, as an identity is given as a digest."""
    near = hasher.near_each(list(identities))
    if not all(near):
        return None
    hashes = np.array(sorted({one for forms in near for one in forms}), np.uint64)
    return Probes(hashes, {kind.name: stamp_of(kind, hasher) for kind in registry})


def _one_batch(record_type: RecordType, rows: pa.Table) -> list[Any]:
    """The columns that matter, in one piece; no batch if there are none."""
    names = subject_column_names(record_type, rows.schema)
    return list(rows.select(names).combine_chunks().to_batches()) if names else []


def _rules(fields: Iterable[Field]) -> Iterator[Any]:
    for field in fields:
        if holds_subject(field):
            within = [*_rules(members_of(field.kind))]
            yield [field.name, field.subject, field.subject_when, within]
