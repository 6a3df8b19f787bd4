"""Lines of suppressed subjects are found in a file's bytes, however these are written and cut."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from schemas.contacts import MAX_ROW, ContactFormat, LineFormat, Reason, Row
from schemas.dsr import Identity, IdentityType
from schemas.erasure import Suppressed
from schemas.identities import normalised_value
from transforms.contacts.read import read_part
from transforms.contacts.split import Split
from transforms.contacts.suppress import ContactSieve, left_out
from transforms.scrub import Scrubber
from transforms.subject_hashes import SubjectHasher
from transforms.suppress import SubjectSieve

KEY = b"k" * 32
NDJSON = LineFormat(ContactFormat.NDJSON)

HERS = [
    "ana", "4711", "-7", "x", "KK-77", "ab12S", "12345678", "g-123456789", "two words", "Zo\u00e9",
    "\u00e91234567", "\u00e912345678", "\u00c9ric", "stra\u00dfe", "a\"b", "a\\b", "a\\",
    "ends\u00a0x", "\u6771\u4eac", "e\u0301123456", "a\u0301bcdefg", "foo\"1234567", "u00e9abcd",
    "5,6", "a]", "{b}", "q\"" * 10,
]  # fmt: skip
EMAILS = [
    "ana@acme.example", "a@b.example", "long.name.of.one@acme.example", "Stra\u00dfe@acme.example",
    "zo\u00e9@b.example", "o'brien@b.example", "ana+news@acme.example",
]  # fmt: skip
AROUND = st.sampled_from(["", "", "", " ", "\u00a0", "\n", "\t", "\x85", "\u3000"])
CASES: list[Callable[[str], str]] = [str, str.upper, str.lower, str.title]

WRITERS: list[Callable[[Any], str]] = [
    json.dumps,
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    lambda value: json.dumps(value, separators=(" , ", " : ")),
    lambda value: json.dumps(value, ensure_ascii=False),
    lambda value: json.dumps(value).replace("@", "\\u0040").replace("+", "\\u002B"),
]


def sieve(suppressed: Sequence[Suppressed]) -> ContactSieve:
    return ContactSieve(SubjectSieve(SubjectHasher(KEY), tuple(suppressed)))


def lines_found(
    of: ContactSieve, content: bytes, size: int = 1 << 16, lines: LineFormat = NDJSON
) -> list[int]:
    search = of.search(lines, {})
    split = Split(lines, 3, 0, 1, search.look)
    parts = list(split.parts(content[at : at + size] for at in range(0, len(content), size)))
    found = search.found(parts)
    assert all(part.line <= line for part in parts for line in found.get(part.number, ()))
    return [line for part in parts for line in found.get(part.number, [])]


def lines_of_subjects(of: ContactSieve, rows: Iterator[Row]) -> list[int]:
    """By reading each and comparing exact hashes."""
    sound = (row for row in rows if row.contact is not None)
    return [r.line for r in sound if of.subjects.is_document(json.loads(bytes(r.contact or b"")))]


@st.composite
def texts(draw: st.DrawFn, of: Sequence[str] = (*HERS, *EMAILS)) -> str:
    hers = draw(st.sampled_from(of))
    before = draw(AROUND | st.sampled_from(["", "", "x", "\u0301", "pre-"]))
    behind = draw(AROUND | st.sampled_from(["", "", "x", "\u0301"]))
    return before + draw(st.sampled_from(CASES))(hers) + behind


NAMES = st.sampled_from(["a", "bId", "c"]) | texts(EMAILS)
VALUES = st.recursive(
    texts() | st.text(max_size=12) | st.integers() | st.sampled_from([4711, -7, None, True, 1.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=6,
)


@st.composite
def suppressions(draw: st.DrawFn) -> list[Suppressed]:
    hasher = SubjectHasher(KEY, draw(st.booleans()))
    kinds = [kind for kind in IdentityType if kind is not IdentityType.EMAIL][:3]
    emails = draw(st.lists(st.sampled_from(EMAILS), max_size=2))
    others = draw(st.lists(st.tuples(st.sampled_from(kinds), st.sampled_from(HERS)), max_size=2))
    assume(emails or others)
    found = [Identity(IdentityType.EMAIL, email) for email in emails]
    return hasher.suppressed_each([*found, *(Identity(kind, hers) for kind, hers in others)])


@given(
    suppressions(),
    st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=6),
    st.sampled_from(WRITERS),
    st.integers(1, 200),
)
def test_lines_of_json_are_found_however_they_are_written(
    suppressed: list[Suppressed], contacts: list[dict[str, Any]], write: Any, size: int
) -> None:
    content = "".join(write({"id": "1", **contact}) + "\n" for contact in contacts).encode()
    of = sieve(suppressed)
    expected = lines_of_subjects(of, read_part(NDJSON, [content], 1, {}))
    assert lines_found(of, content, size) == expected


CELLS = st.lists(texts().filter(lambda text: not set(text) & set('",;\t\n\r\x85')), max_size=3)


@given(suppressions(), st.lists(CELLS, max_size=6), st.sampled_from(",;\t|"), st.booleans())
def test_lines_of_csv_are_found(
    suppressed: list[Suppressed], rows: list[list[str]], delimiter: str, returns: bool
) -> None:
    end = "\r\n" if returns else "\n"
    lines = LineFormat(ContactFormat.CSV, ("id", "aId", "bId", "cId"), delimiter)
    cells = [["1", *row, *[""] * (3 - len(row))] for row in rows]
    content = "".join(delimiter.join(row) + end for row in cells).encode()
    of = sieve(suppressed)
    expected = lines_of_subjects(of, read_part(lines, [content], 1, {}))
    assert lines_found(of, content, lines=lines) == expected


ANA = sieve([SubjectHasher(KEY).suppressed(Identity(IdentityType.EMAIL, EMAILS[0]))])
HERS_LINE = b'{"id":"1","email":"ana@acme.example"}'


@pytest.mark.parametrize("number", [7, -7, 4711, 12345678, -123456789, 2**63])
@pytest.mark.parametrize(
    "before", [b":", b": ", b":\t", b":\r", b":[", b":[1,", b":[1 , ", b':["a",']
)
@pytest.mark.parametrize("behind", [b"", b" ", b",2", b' ,"b\\n"', b"\t\r " * 9])
def test_numbers_are_found_however_they_are_written(
    number: int, before: bytes, behind: bytes
) -> None:
    hers = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, str(number))
    of = sieve([SubjectHasher(KEY).suppressed(hers)])
    end = (b"]" if b"[" in before else b"") + b"}\n"
    if b"," in behind and b"[" not in before:
        behind = behind.replace(b",", b',"more":')
    rows = [b'{"id":"x","aId"%b%d%b%b' % (before, each, behind, end) for each in (number, 10, 99)]
    assert lines_found(of, b"".join(rows)) == [1]


def test_nothing_is_found_if_nobody_is_suppressed() -> None:
    assert lines_found(sieve([]), HERS_LINE) == []


def test_each_hash_that_is_stored_is_found_at_any_place() -> None:
    stored = Scrubber(KEY).hash(EMAILS[0])
    rows = [f'{{"id":"{"x" * n}","email":"{stored}"}}\n'.encode() for n in range(9)]
    others = [row.replace(stored[-8:].encode(), b"00000000") for row in rows]
    assert lines_found(ANA, b"".join(rows + others)) == [*range(1, 10)]


def test_a_stored_address_without_its_tag_is_found_if_tags_make_no_difference() -> None:
    tagged = Identity(IdentityType.EMAIL, "ana+other@acme.example")
    with_tags, without = (
        sieve([SubjectHasher(KEY, plus).suppressed(tagged)]) for plus in (True, False)
    )
    values = ("ana@acme.example", tagged.value, "bo@acme.example")
    rows = [f'{{"id":"1","email":"{Scrubber(KEY).hash(value)}"}}\n' for value in values]
    content = "".join(rows).encode()
    assert (lines_found(with_tags, content), lines_found(without, content)) == ([1, 2], [2])


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\n{"])
def test_the_last_line_is_looked_at(end: bytes) -> None:
    assert lines_found(ANA, b'{"id":"1"}\n' + HERS_LINE + end) == [2]


KINDS = [IdentityType.CONTROLLER_CUSTOMER_ID, IdentityType.ANDROID_ID]
DIGITS = "123456789"
FORMS = [
    "", "x", "\u00e9", "e\u0301", "\u00c9", "\u00df", "ss", "\u6771", "\u212a", "k", "K", "\u00a1",
    "\u00e9ss", "\u00e9\u00df", "\u00e9k",
]  # fmt: skip
EDGES = ["", " ", "\u00a0", "\x85", "\u3000", "\u2003"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_an_identity_is_found_at_any_distance_from_its_end(
    kind: IdentityType, form: str
) -> None:
    every = [form + DIGITS[:n] for form in FORMS for n in range(10) if form or n]
    texts = [before + text + behind for text in every for before in EDGES for behind in EDGES]
    rows = [json.dumps({"id": "c", "aId": text}, ensure_ascii=False) + "\n" for text in texts]
    forms = [normalised_value(text, kind) for text in texts]
    for hers in (form + DIGITS[:n] for n in (1, 7, 8)):
        alike = normalised_value(hers, kind)
        of = sieve([SubjectHasher(KEY).suppressed(Identity(kind, hers))])
        expected = [line for line, other in enumerate(forms, 1) if other == alike]
        assert lines_found(of, "".join(rows).encode(), 1 << 20) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_become_ascii_is_read(kind: IdentityType) -> None:
    every = (chr(n) for n in range(0x80, 0x30000) if not 0xD800 <= n < 0xE000)
    ending = ((one, normalised_value(one, kind)[-1:]) for one in every)
    become = [one for one, end in ending if end.isascii()]
    assert "\u212a" in become
    hasher = SubjectHasher(KEY)
    of = {
        text: sieve([hasher.suppressed(Identity(kind, normalised_value(text, kind)))])
        for one in become
        for text in (f"{one}7", f"{one}1234567", f"7{one}")
    }
    for hers, its in of.items():
        for written in (json.dumps, lambda text: json.dumps(text, ensure_ascii=False)):
            rows = [f'{{"id":"1","aId":{written(text)}}}\n' for text in (hers, f"12{hers}", "78")]
            assert lines_found(its, "".join(rows).encode()) == [1], ascii(hers)


@pytest.mark.parametrize("hers", HERS)
def test_each_identity_is_found_in_each_way_of_writing(hers: str) -> None:
    kind = IdentityType.CONTROLLER_CUSTOMER_ID
    of = sieve([SubjectHasher(KEY).suppressed(Identity(kind, hers))])
    texts = [*HERS, f"\n{hers}", f"{hers}\t ", f"{hers}\t9"]
    alike = [normalised_value(text, kind) == normalised_value(hers, kind) for text in texts]
    for write in WRITERS:
        rows = "".join(write({"id": "c", "aId": text, "b": "?"}) + "\n" for text in texts)
        assert lines_found(of, rows.encode()) == [n for n, is_one in enumerate(alike, 1) if is_one]


@pytest.mark.parametrize("tag", ["", "x", "a-tag-that-is-long", "two+tags"])
@pytest.mark.parametrize("write", WRITERS)
def test_an_email_is_found_with_any_tag(tag: str, write: Callable[[Any], str]) -> None:
    hers = Identity(IdentityType.EMAIL, "ana@acme.example")
    of, without = (sieve([SubjectHasher(KEY, plus).suppressed(hers)]) for plus in (True, False))
    line = write({"id": "1", "email": f"Ana+{tag}@acme.example"}).encode()
    assert (lines_found(of, line), lines_found(without, line)) == ([1], [])


def test_the_last_line_may_be_as_long_as_a_row_and_no_longer() -> None:
    begin, end = HERS_LINE[:-1] + b',"more":"', b'"}'
    lines = [begin + b"x" * (size - len(begin + end)) + end for size in (MAX_ROW - 1, MAX_ROW)]
    assert [lines_found(ANA, line) for line in lines] == [[1], []]
    assert [row.reason for line in lines for row in read_part(NDJSON, [line], 1, {})] == [
        Reason.TOO_LONG, Reason.TOO_LONG,
    ]  # fmt: skip


def test_minus_zero_is_zero() -> None:
    of = sieve([SubjectHasher(KEY).suppressed(Identity(KINDS[0], "0"))])
    assert lines_found(of, b'{"id":"c","aId":-0}\n{"id":"c","aId":-10}\n') == [1]


def test_a_text_is_read_once_however_many_of_its_places_are_unclear() -> None:
    hers = Identity(IdentityType.EMAIL, EMAILS[0])
    of = sieve([SubjectHasher(KEY, plus_addressing=True).suppressed(hers)])
    lines = LineFormat(ContactFormat.CSV, ("id", "email"), ",")
    tracemalloc.start()
    try:
        found = lines_found(of, b"1," + b"+" * 100_000 + b"\n2,ana+x@acme.example", lines=lines)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == [2]
    assert peak < 30 << 20


def test_broken_and_far_too_long_lines_spoil_no_others() -> None:
    long = b'{"id":"1","more":"' + b"x" * (3 * MAX_ROW) + b'","email":"ana@acme.example"}'
    broken = b'{"id":"1","email":"ana@acme.example'
    content = b"\n".join([HERS_LINE, long, HERS_LINE, broken, b"\xff" + HERS_LINE, HERS_LINE])
    assert lines_found(ANA, content) == [1, 3, 6]


@pytest.mark.parametrize("size", [1 << 12, 1 << 18, 1 << 20])
def test_lines_are_found_in_a_file_of_many_blocks(size: int) -> None:
    rows = [b'{"id":"%d","email":"p%d@acme.example"}' % (n, n) for n in range(8_000)]
    hers = [0, 1, 4_999, 7_000, 7_001, 7_999]
    for n in hers:
        rows[n] = HERS_LINE
    assert lines_found(ANA, b"\n".join(rows), size) == [n + 1 for n in hers]


@example([3], 3)
@given(st.lists(st.integers(1, 9)), st.integers(1, 9))
def test_rows_of_found_lines_are_left_out_and_stay_in_their_place(gone: list[int], n: int) -> None:
    rows = list(read_part(NDJSON, [b'{"id":"1"}\n' * n], 1, {}))
    found = list(left_out(iter(rows), np.array(sorted(gone), np.int64)))
    assert [row.line for row in found] == [*range(1, n + 1)]
    assert {r.line for r in found if r.reason is Reason.SUPPRESSED} == {*gone} & {*range(1, n + 1)}
    assert all((row.contact is None) == (row.reason is not None) for row in found)
