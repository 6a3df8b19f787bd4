"""Prepare: the rows of a file set aside in parts, before the first of them is sent anywhere.

So a file that cannot be read to its end is found out before anything is paid for, how many batches
there are is known from the start, and workers can share parts whatever the file's format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec

from schemas.contacts import EnrichmentPlan, InputIdentity, Part, Row
from stores.enrichment.work import WorkFolder, encode_row

PART_ROWS = 5_000
"""Rows of a part, or as many as one batch has if that is more."""


def prepare(
    identity: InputIdentity,
    rows: Iterable[Row],
    mapping: Mapping[str, str],
    batch_size: int,
    work: WorkFolder,
) -> EnrichmentPlan:
    """Set all rows aside, and write the plan. Raises what reading the rows raises."""
    digest = hashlib.sha256()
    batches_a_part = max(1, PART_ROWS // batch_size)
    contacts, parts = 0, list[Part]()
    for group in _groups(rows, batches_a_part * batch_size):
        for row in group:
            digest.update(canonical(row))
        batches = -(-len(group) // batch_size)
        parts.append(Part(len(parts), len(parts) * batches_a_part, batches))
        work.write_part(parts[-1].number, map(encode_row, group))
        contacts += len(group)
    plan = EnrichmentPlan(
        identity, dict(mapping), batch_size, contacts,
        sum(part.batches for part in parts), tuple(parts), digest.hexdigest(),
    )  # fmt: skip
    work.write_plan(plan)
    return plan


def canonical(row: Row) -> bytes:
    """A row in a form that is the same for the same contact in any format of file."""
    return msgspec.json.encode((row.contact, row.reason), order="deterministic") + b"\n"


def batches_of(rows: Iterator[Row], part: Part, size: int) -> Iterator[tuple[int, list[Row]]]:
    """The batches of a part's rows, with their numbers."""
    for number in range(part.first, part.first + part.batches):
        yield number, list(islice(rows, size))


def _groups(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Groups of rows; an empty one if there are none, as without a part nothing would be done."""
    source = iter(rows)
    yield list(islice(source, size))
    while group := list(islice(source, size)):
        yield group
