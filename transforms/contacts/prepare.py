"""Prepare: a file divided into parts, before the first of its rows is sent anywhere.

So a file that cannot be read to its end is found out before anything is paid for, how many batches
there are is known from the start, and workers can share parts whatever the file's format. A plain
file of lines is only looked through; the rows of any other are set aside.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from schemas.contacts import EnrichmentPlan, InputIdentity, LineFormat, Part, Row
from stores.enrichment.area import WorkArea
from stores.enrichment.rows import encode_row, rows_of
from transforms.contacts.split import PART_BYTES, PART_ROWS, Look, Split
from transforms.contacts.suppress import ContactSieve


def plan_of_lines(
    identity: InputIdentity,
    lines: tuple[LineFormat, int, int],
    pieces: Iterable[bytes],
    mapping: Mapping[str, str],
    batch_size: int,
    look: Look | None = None,
) -> EnrichmentPlan:
    """The plan of a file whose parts are read from it.

    ``lines`` says how, and at which byte and line the rows begin; ``pieces`` are its bytes from
    there on, which ``look`` is shown. Raises ``NotByLines`` if it cannot be read so.
    """
    how, start, line = lines
    split = Split(how, batch_size, start, line, look)
    parts = tuple(split.parts(pieces))
    return EnrichmentPlan(
        _new_id(), identity, dict(mapping), batch_size, split.contacts, split.batches, parts, how
    )


def set_aside(
    identity: InputIdentity,
    rows: Iterable[Row],
    mapping: Mapping[str, str],
    batch_size: int,
    area: WorkArea,
) -> EnrichmentPlan:
    """The plan of a file whose rows are set aside, a part in memory at a time.

    Raises what reading them raises.
    """
    plan_id, contacts, parts = _new_id(), 0, list[Part]()
    source = iter(rows)
    while part := _next_part(source, batch_size):
        count = len(part)
        first = parts[-1].numbers.stop if parts else 0
        parts.append(Part(len(parts), first, -(-count // batch_size)))
        area.write_part(plan_id, parts[-1].number, b"".join(part))
        contacts += count
    batches = parts[-1].numbers.stop if parts else 0
    return EnrichmentPlan(
        plan_id, identity, dict(mapping), batch_size, contacts, batches, tuple(parts)
    )


def sift_aside(plan: EnrichmentPlan, area: WorkArea, sieve: ContactSieve) -> None:
    """Have rows that were set aside be without contacts of those who are suppressed by now."""
    for part in plan.parts:
        rows = list(rows_of(area.read_part(plan.id, part.number)))
        sifted = list(sieve.sift(iter(rows)))
        if sifted != rows:
            area.write_part(plan.id, part.number, b"".join(map(encode_row, sifted)))


def _next_part(source: Iterator[Row], batch_size: int) -> list[bytes]:
    """The rows of the next part, as they are set aside: some whole batches, or all that is left."""
    part, size = list[bytes](), 0
    for _ in range(max(1, PART_ROWS // batch_size)):
        batch = [encode_row(row) for row in islice(source, batch_size)]
        part += batch
        size += sum(map(len, batch))
        if len(batch) < batch_size or size >= PART_BYTES:
            break
    return part


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


def batches_of(rows: Iterator[Row], part: Part, size: int) -> Iterator[tuple[int, list[Row]]]:
    """The batches of a part's rows, with their numbers."""
    for number in part.numbers:
        yield number, list(islice(rows, size))
