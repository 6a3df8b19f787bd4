"""Rows that are set aside come back as they were, in batches."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contacts import InputIdentity, Part, Reason, Row
from stores.enrichment.rows import encode_row, rows_of
from stores.enrichment.work import WorkFolder
from transforms.contacts.check import checked_row, faulty_row
from transforms.contacts.prepare import batches_of, set_aside

IDENTITY = InputIdentity("/c.ndjson", 10, "1-2-3")
CONTACTS = st.dictionaries(
    st.sampled_from(["id", "contactId", "name", "email"]),
    st.none() | st.integers(0, 9) | st.text(st.characters(codec="utf-8"), max_size=5),
)


def rows(count: int, **more: str) -> Iterator[Row]:
    return (checked_row(line, {"id": line, **more}, {}) for line in range(1, count + 1))


@given(CONTACTS, st.sampled_from(Reason))
def test_a_row_comes_back_as_it_was(contact: dict[str, object], reason: Reason) -> None:
    found = [checked_row(7, contact, {}), faulty_row(8, reason, "name")]
    assert list(rows_of(b"".join(map(encode_row, found)))) == found


@given(st.permutations([("id", "a"), ("b", "x"), ("c", None)]))
def test_the_digest_does_not_depend_on_the_order_of_fields(
    fields: list[tuple[str, object]],
) -> None:
    ordered = checked_row(9, dict(sorted(fields)), {})
    assert checked_row(1, dict(fields), {}).digest == ordered.digest


@pytest.mark.parametrize("count", [0, 1, 10, 11])
def test_parts_hold_all_rows_in_batches(tmp_path: Path, count: int) -> None:
    area = WorkFolder(tmp_path / "out.ndjson")
    plan = set_aside(IDENTITY, rows(count), {}, 5, area)
    found = [
        batch
        for part in plan.parts
        for batch in batches_of(rows_of(area.read_part(plan.id, part.number)), part, 5)
    ]
    assert [number for number, _ in found] == [*range(plan.batches)]
    assert [row for _, batch in found for row in batch] == list(rows(count))


def test_several_parts_number_their_batches_on_and_on(tmp_path: Path) -> None:
    plan = set_aside(IDENTITY, rows(10_001), {}, 2_500, WorkFolder(tmp_path / "out.ndjson"))
    assert plan.parts == (Part(0, 0, 2), Part(1, 2, 2), Part(2, 4, 1))


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    area = WorkFolder(tmp_path / "out.ndjson")
    tracemalloc.start()
    set_aside(IDENTITY, rows(20_000, a="x" * 200), {}, 100, area)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000  # a part of 5,000 rows, and the same as one text
