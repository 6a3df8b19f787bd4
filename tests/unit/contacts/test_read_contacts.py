"""Reading contact files: whatever their format and however their bytes come, the same rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contacts import MAX_ROW, ContactFormat, Reason, Row
from schemas.errors import InputError, UsageError
from transforms.contacts.read import format_of, read_contacts

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["name", 'qu"ote', "{", "],", "città"])
CONTACTS = st.lists(
    st.builds(
        lambda number, fields: {"id": f"c-{number}", **fields},
        st.integers(0, 99),
        st.dictionaries(NAMES, VALUES, max_size=4),
    ),
    max_size=6,
)
SIZES = st.integers(1, 40)


def read(name: str, content: bytes, size: int = 7, **mapping: str) -> list[Row]:
    return list(read_contacts(name, cut(content, size), mapping))


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def contacts_of(rows: list[Row]) -> list[dict[str, Any] | None]:
    assert [row.reason for row in rows] == [None] * len(rows)
    return [decoded(row) for row in rows]


def decoded(row: Row) -> Any:
    return None if row.contact is None else json.loads(bytes(row.contact))


@given(CONTACTS, SIZES)
def test_lines_are_read_however_they_are_cut(contacts: list[dict[str, Any]], size: int) -> None:
    content = "".join(json.dumps(contact) + "\n" for contact in contacts).encode()
    rows = read("c.ndjson", content, size)
    assert contacts_of(rows) == contacts
    assert [row.line for row in rows] == list(range(1, len(contacts) + 1))


@given(CONTACTS, SIZES, st.sampled_from([None, 1]), st.booleans())
def test_arrays_are_read_however_they_are_cut(
    contacts: list[dict[str, Any]], size: int, indent: int | None, ascii_only: bool
) -> None:
    content = json.dumps(contacts, indent=indent, ensure_ascii=ascii_only).encode()
    assert contacts_of(read("c.json", content, size)) == contacts


CELLS = st.lists(st.tuples(st.integers(1, 99), TEXT, TEXT), max_size=6)


@given(CELLS, SIZES, st.sampled_from(",;\t|"))
def test_csv_is_read_however_it_is_cut(
    records: list[tuple[int, str, str]], size: int, delimiter: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([("id", "name", "note"), *records])
    rows = read("c.csv", text.getvalue().encode(), size)
    assert contacts_of(rows) == [
        {name: value for name, value in (("id", str(a)), ("name", b), ("note", c)) if value}
        for a, b, c in records
    ]


@given(st.binary(max_size=200), st.sampled_from(["c.ndjson", "c.json", "c.csv", "c"]), SIZES)
def test_any_bytes_give_rows_or_an_error_of_ours(content: bytes, name: str, size: int) -> None:
    try:
        rows = read(name, content, size)
    except (InputError, UsageError):
        return
    assert all(row.reason is not None or row.contact is not None for row in rows)


@given(st.lists(st.sampled_from(["good", '"unclosed', '"a"b', "x,y", ""]), max_size=8), SIZES)
def test_a_broken_csv_line_costs_only_itself(names: list[str], size: int) -> None:
    """Here no quote that is open meets another one further on."""
    names = [*dict.fromkeys(names)]
    content = "id,name\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names, 1))
    found = {row.line - 1: row.reason for row in read("c.csv", content.encode(), size)}
    wrong = {'"unclosed': Reason.INVALID_CSV, '"a"b': Reason.INVALID_CSV,
             "x,y": Reason.WRONG_COLUMNS}  # fmt: skip
    if not {'"unclosed', '"a"b'} <= set(names):
        assert found == {n: wrong.get(name) for n, name in enumerate(names, 1)}


@pytest.mark.parametrize(
    ("line", "reason", "field"),
    [
        (b'{"id": "1"', Reason.INVALID_JSON, None),
        (b'{"id": "\xff"}', Reason.INVALID_ENCODING, None),
        (b'{"id": "\\ud800"}', Reason.INVALID_JSON, None),
        (b'{"id": NaN}', Reason.INVALID_JSON, None),
        (b'["id", "1"]', Reason.NOT_AN_OBJECT, None),
        (b'{"name": "x"}', Reason.MISSING_ID, "id"),
        (b'{"id": ""}', Reason.MISSING_ID, "id"),
        (b'{"id": true}', Reason.MISSING_ID, "id"),
        (b'{"id": "' + b"x" * 201 + b'"}', Reason.TOO_LONG, "id"),
        (b'{"id": "1", "a": "' + b"x" * 10_001 + b'"}', Reason.TOO_LONG, "a"),
        (b'{"id": "1", "email": "nobody"}', Reason.INVALID_VALUE, "email"),
        (b'{"id": "1", "email": 5}', Reason.INVALID_VALUE, "email"),
        (b" " * (MAX_ROW + 1), Reason.TOO_LONG, None),
        (b'{"id": "1"' + b"".join(b', "%d": 0' % n for n in range(100)) + b"}",
         Reason.TOO_MANY_FIELDS, None),
    ],
)  # fmt: skip
def test_a_bad_line_says_why_and_spares_its_neighbours(
    line: bytes, reason: Reason, field: str | None
) -> None:
    good = b'{"id": "good"}\n'
    rows = read("c.ndjson", good + line + b"\n" + good, 1 << 16)
    assert [(row.line, row.reason, row.field) for row in rows] == [
        (1, None, None), (2, reason, field), (3, None, None),
    ]  # fmt: skip


def test_a_bad_member_of_an_array_spares_its_neighbours() -> None:
    rows = read("c.json", b'[{"id" 1},\n5,\n\n {"id": 3}\n]')
    assert [(row.line, row.reason) for row in rows] == [
        (1, Reason.INVALID_JSON), (2, Reason.NOT_AN_OBJECT), (4, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [b"[", b'[{"id": 1}', b'[{"id": 1}] x', b'[{"id": 1}]]', b'[{"id": "1}]', b'[{"id": 1}}'],
)
def test_a_broken_array_is_an_error(content: bytes) -> None:
    with pytest.raises(InputError, match=r"c\.json: the array is broken at line 1"):
        read("c.json", content)


def test_a_trailing_comma_is_a_bad_member() -> None:
    assert [row.reason for row in read("c.json", b'[{"id": 1},]')] == [None, Reason.INVALID_JSON]


def test_an_array_without_end_does_not_fill_memory() -> None:
    endless = (b'"' + b"x" * 65536 for _ in iter(int, 1))
    with pytest.raises(InputError, match="far too long"):
        list(read_contacts("c.json", (b"[{" if n == 0 else p for n, p in enumerate(endless)), {}))


def test_a_line_without_end_does_not_fill_memory() -> None:
    long = (b"x" * 65536 for _ in range(1000))
    rows = list(read_contacts("c.ndjson", long, {}))
    assert [row.reason for row in rows] == [Reason.TOO_LONG]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read("c", b'\xef\xbb\xbf{"id": 1}', size=1)[0].id == "1"


def test_another_encoding_is_an_error() -> None:
    with pytest.raises(InputError, match="not in UTF-8"):
        read("c.csv", "id,name\n".encode("utf-16"))


def test_fields_are_renamed() -> None:
    row = read("c.ndjson", b'{"No": 7, "E-mail": "a@b.c"}', **{"No": "id", "E-mail": "email"})[0]
    assert (row.id, decoded(row)) == ("7", {"id": 7, "email": "a@b.c"})


@pytest.mark.parametrize("header", ["name", "id,id", "a,contact", '"id'])
def test_a_header_that_cannot_be_used_is_an_error_without_its_text(header: str) -> None:
    with pytest.raises((UsageError, InputError)) as raised:
        read("c.csv", f"{header}\nx,y\n".encode())
    assert "a,contact" not in raised.value.message


def test_a_column_that_is_not_there_cannot_be_mapped() -> None:
    with pytest.raises(UsageError, match="no such column"):
        read("c.csv", b"id,name\n", Mail="email")


@pytest.mark.parametrize(
    ("name", "first", "fmt"),
    [
        ("a.csv.gz", b"[x", ContactFormat.CSV),
        ("a.json", b" [", ContactFormat.ARRAY),
        ("a.json.zst", b"{", ContactFormat.NDJSON),
        ("a.jsonl", b"broken", ContactFormat.NDJSON),
        ("a.txt", b"id;name", ContactFormat.CSV),
        ("a", b"{", ContactFormat.NDJSON),
    ],
)
def test_the_format_is_told_by_ending_and_first_character(
    name: str, first: bytes, fmt: ContactFormat
) -> None:
    assert format_of(name, first) is fmt


@pytest.mark.parametrize("name", ["c.ndjson", "c.json"])
@pytest.mark.parametrize("depth", [199, 200, 250, 900, 5000])
def test_a_row_nested_too_deep_costs_itself(name: str, depth: int) -> None:
    deep = b'{"id":"1","more":' + b"[" * depth + b"]" * depth + b"}"
    content = deep + b"\n" + b'{"id":"2"}'
    whole = content if name == "c.ndjson" else b"[" + content.replace(b"\n", b",") + b"]"
    found = read_contacts(name, [whole], {})
    assert [row.reason for row in found] == [Reason.INVALID_JSON if depth > 199 else None, None]
