"""Parts of a plain file: together they are the file, whatever its lines and pieces are like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contacts import ContactFormat, EnrichmentPlan, InputIdentity, LineFormat, Row
from transforms.contacts.prepare import plan_of_lines
from transforms.contacts.read import lines_begin, read_contacts, read_part
from transforms.contacts.split import NotByLines, Split

IDENTITY = InputIdentity("/c.ndjson", 10, "1-2-3")
LINES = st.lists(
    st.sampled_from([b'{"id":"1"}', b' {"id":2}', b"", b"  ", b"\r", b"broken", b"[]", b"\x0b"]),
    max_size=30,
)


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def planned(name: str, content: bytes, size: int, batch: int) -> EnrichmentPlan | None:
    begin = lines_begin(name, content, {})
    if begin is None:
        return None
    return plan_of_lines(IDENTITY, begin, cut(content[begin[1] :], size), {}, batch)


def read_in_parts(plan: EnrichmentPlan, content: bytes) -> list[Row]:
    assert plan.lines is not None
    return [
        row
        for part in plan.parts
        for row in read_part(
            plan.lines, [content[part.start : part.start + part.size]], part.line, {}
        )
    ]


@given(LINES, st.booleans(), st.integers(1, 30), st.integers(1, 4))
def test_parts_of_ndjson_hold_the_rows_of_the_file(
    lines: list[bytes], is_ended: bool, size: int, batch: int
) -> None:
    content = b"{}\n" + b"\n".join(lines) + b"\n" * is_ended
    plan = planned("c.ndjson", content, size, batch)
    assert plan is not None
    whole = list(read_contacts("c.ndjson", [content], {}))
    assert read_in_parts(plan, content) == whole
    assert (plan.contacts, plan.batches) == (len(whole), -(-len(whole) // batch))


@given(st.lists(st.sampled_from([b"1,a", b"2", b"", b" ", b"\r", b"3,b\r", b"4\r,c"]), max_size=30),
       st.integers(1, 30), st.integers(1, 4))  # fmt: skip
def test_parts_of_csv_hold_the_rows_of_the_file(lines: list[bytes], size: int, batch: int) -> None:
    content = b"id,name\n" + b"\n".join(lines)
    plan = planned("c.csv", content, size, batch)
    assert plan is not None
    whole = list(read_contacts("c.csv", [content], {}))
    assert read_in_parts(plan, content) == whole
    assert plan.contacts == len(whole)


def test_parts_are_some_thousand_rows() -> None:
    plan = planned("c.ndjson", b'{"id":1}\n' * 12_050, 1000, 100)
    assert plan is not None
    assert [part.batches for part in plan.parts] == [50, 50, 21]
    assert [part.line for part in plan.parts] == [1, 5_001, 10_001]


def test_long_rows_make_parts_of_fewer() -> None:
    row = b'{"id":1,"a":"%b"}\n' % (b"x" * 500_000)
    split = Split(LineFormat(ContactFormat.NDJSON), 10, 0, 1)
    parts = list(split.parts(row for _ in range(100)))
    assert [part.batches for part in parts] == [4, 4, 2]


def test_quotes_have_csv_read_from_its_beginning() -> None:
    with pytest.raises(NotByLines):
        planned("c.csv", b'id,name\n1,"a\nb"\n', 1000, 10)


@pytest.mark.parametrize("name", ["c.json", "c"])
def test_an_array_is_not_read_by_lines(name: str) -> None:
    assert lines_begin(name, b'[{"id": 1}]', {}) is None
