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
    """Set all rows aside, one at a time, and write the plan. Raises what reading them raises."""
    batches_a_part = max(1, PART_ROWS // batch_size)
    digest, contacts, parts = hashlib.sha256(), 0, list[Part]()
    source = iter(rows)
    is_more = True
    while is_more:
        number = len(parts)
        group = _Counted(islice(source, batches_a_part * batch_size), digest)
        work.write_part(number, group)
        parts.append(Part(number, number * batches_a_part, -(-group.count // batch_size)))
        contacts += group.count
        is_more = group.count == batches_a_part * batch_size
    plan = EnrichmentPlan(
        identity, dict(mapping), batch_size, contacts,
        sum(part.batches for part in parts), tuple(parts), digest.hexdigest(),
    )  # fmt: skip
    work.write_plan(plan)
    return plan


class _Counted:
    """Rows encoded as they pass, counted, and made part of the digest."""

    def __init__(self, rows: Iterable[Row], digest: hashlib._Hash) -> None:
        self._rows = rows
        self._digest = digest
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for row in self._rows:
            self.count += 1
            self._digest.update(canonical(row))
            yield encode_row(row)


def canonical(row: Row) -> bytes:
    """A row in a form that is the same for the same contact in any format of file."""
    return msgspec.json.encode((row.contact, row.reason), order="deterministic") + b"\n"


def batches_of(rows: Iterator[Row], part: Part, size: int) -> Iterator[tuple[int, list[Row]]]:
    """The batches of a part's rows, with their numbers."""
    for number in range(part.first, part.first + part.batches):
        yield number, list(islice(rows, size))
