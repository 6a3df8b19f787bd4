"""Rewriting Avro files of any kind without the rows of subjects."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.arrow import arrow_schema
from schemas.dsr import Identity, IdentityType
from schemas.errors import SchemaError
from tests.unit.schemas.record_types import array, record, record_type
from transforms.avro import AvroFileWriter
from transforms.avro_container import AvroBlock, NotAvro, encoded_block, read_header
from transforms.erasure.avro import count_avro, rewrite_avro
from transforms.erasure.avro_codecs import packed, unpacked
from transforms.erasure.matching import IdentityMatcher
from transforms.erasure.redaction import Redaction
from transforms.erasure.rewritten import Rewritten
from transforms.scrub import Scrubber

KEY = b"a key of sixteen bytes and more"
EMAIL = {"name": "email", "type": "string", "subject": "email", "pii": "email"}
MAIL = {"name": "mail", "type": ["null", "string"], "subject": "email"}
PHONE = {"name": "phone", "type": ["null", "long"], "pii": "phone"}
TYPE = record_type(EMAIL, PHONE, {"name": "people", "type": array(record("person", MAIL))})
SUBJECT = "subject@acme.example"
CODECS = ["null", "deflate", "snappy", "zstandard", "bzip2", "xz", "lz4"]


def matcher(*emails: str) -> IdentityMatcher:
    identities = (Identity(IdentityType.EMAIL, email) for email in emails or [SUBJECT])
    return IdentityMatcher(tuple(identities), Scrubber(KEY))


PERSON = {
    "type": "record",
    "name": "person",
    "namespace": "acme.people",
    "fields": [
        {"name": "mail", "type": ["null", "string"]},
        {"name": "next", "type": ["null", {"type": "fixed", "name": "tag", "size": 3}]},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "row",
    "namespace": "acme",
    "doc": "by someone else",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "owner", "type": PERSON},
        {"name": "email", "type": ["string", "null"]},
        {"name": "phone", "type": "long", "default": 0},
        {"name": "people", "type": {"type": "array", "items": ["null", "acme.people.person"]}},
        {"name": "any", "type": ["null", "int", "string", "double", "acme.people.tag"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "map", "type": {"type": "map", "values": ["boolean", "float"]}},
        {"name": "mark", "type": {"type": "enum", "name": "mark", "symbols": ["A", "B"]}},
    ],
}


def row(n: int, email: str | None, people: list[Any] | None = None) -> dict[str, Any]:
    return {
        "n": n,
        "owner": {"mail": f"owner{n}@x.org", "next": b"abc" if n % 2 else None},
        "email": email,
        "phone": 100 + n,
        "people": people or [],
        "any": [None, n, str(n), n / 4][n % 4],
        "at": n * 1000,
        "map": {"k": n % 2 == 0, "l": 0.5},
        "mark": "AB"[n % 2],
    }


def rows_of(*emails: str | None) -> list[dict[str, Any]]:
    return [row(n, email) for n, email in enumerate(emails)]


def file(rows: list[dict[str, Any]], codec: str = "null", per_block: int = 3) -> bytes:
    """A container with so many rows a block, written by fastavro."""
    out = io.BytesIO()
    schema = fastavro.parse_schema(json.loads(json.dumps(SCHEMA)))
    writer = fastavro.write.Writer(out, schema, codec, metadata={"owner": "sales"})
    for n, one in enumerate(rows):
        writer.write(one)
        if n % per_block == per_block - 1:
            writer.dump()
    writer.flush()
    return out.getvalue()


def read(content: bytes) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(content)))


def rewritten(
    content: bytes, *emails: str, redaction: Redaction | None = None
) -> tuple[Rewritten, bytes]:
    out = io.BytesIO()
    told = rewrite_avro(io.BytesIO(content), out, TYPE, matcher(*emails), redaction)
    return told, out.getvalue()


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "lz4"])
def test_survivors_are_equal_whatever_the_codec(codec: str) -> None:
    content = file(rows_of("a@x", SUBJECT, "b@x", None, "c@x", "d@x", SUBJECT), codec)
    told, after = rewritten(content)
    assert told == Rewritten(7, 2, 5)
    assert read(after) == [one for one in read(content) if one["email"] != SUBJECT]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("data", [b"", b"abc" * 1000])
def test_codecs_give_back_what_they_took(codec: str, data: bytes) -> None:
    assert unpacked(packed(data, codec), codec) == data


def test_block_packed_by_lz4_has_its_size_before_it() -> None:
    assert struct.unpack("<I", packed(b"x" * 300, "lz4")[:4]) == (300,)


def test_header_is_kept_to_the_byte() -> None:
    content = file(rows_of("a@x", SUBJECT))
    header = read_header(io.BytesIO(content)).encoded
    assert b"by someone else" in header
    assert rewritten(content)[1].startswith(header)


def test_blocks_without_a_match_are_copied_and_empty_ones_disappear() -> None:
    emails = ["a@x", "b@x", "c@x", SUBJECT, SUBJECT, SUBJECT, "d@x", SUBJECT]
    content = file(rows_of(*emails), "deflate")
    before, after = blocks(content), blocks(rewritten(content)[1])
    assert [rows for rows, _ in after] == [3, 1]
    assert after[0] == before[0]


def blocks(content: bytes) -> list[tuple[int, bytes]]:
    found = fastavro.block_reader(io.BytesIO(content))
    return [(one.num_records, one.bytes_.getvalue()) for one in found]


@pytest.mark.parametrize("emails", [["a@x", "b@x"], [SUBJECT, SUBJECT], []])
def test_nothing_is_written_if_none_or_all_are_the_subjects(emails: list[str]) -> None:
    told, after = rewritten(file(rows_of(*emails)))
    assert after == b""
    assert told.matched == emails.count(SUBJECT)


def test_counting_finds_what_rewriting_takes_out() -> None:
    content = file(rows_of("a@x", SUBJECT, "b@x", SUBJECT))
    assert count_avro(io.BytesIO(content), TYPE, matcher()) == Rewritten(4, 2, 2)


def test_row_goes_by_one_of_many_nested_values() -> None:
    person = {"mail": SUBJECT, "next": b"abc"}
    content = file([row(0, None, [None, person]), row(1, "a@x", [{"mail": None, "next": None}])])
    assert [one["n"] for one in read(rewritten(content)[1])] == [1]


def test_files_of_ours_are_rewritten() -> None:
    kind = record_type(EMAIL)
    names = [field["name"] for field in kind.avro["fields"]]
    out = io.BytesIO()
    writer = AvroFileWriter(out, kind, metadata={"lethe.file": "x"})
    writer.write(pa.RecordBatch.from_pylist(_ours(names), arrow_schema(kind)))
    writer.close()
    told, after = rewritten(out.getvalue())
    assert told == Rewritten(2, 1, 1)
    assert read(after) == read(out.getvalue())[1:]


def _ours(names: list[str]) -> list[dict[str, Any]]:
    one = {"id": "1", "type": "t", "version": 1, "updated_at": 0, "reference": "r"}
    return [{**one, "deleted": False, "email": email} for email in (SUBJECT, "a@x")]


def test_redacted_values_are_null_where_they_may_be_and_else_hidden() -> None:
    person = {"mail": "b@x", "next": b"abc"}
    content = file([row(0, "a@x"), row(1, SUBJECT, [None, person]), row(2, "c@x")], "deflate")
    told, after = rewritten(content, redaction=Redaction(KEY))
    people = [None, {**person, "mail": None}]
    expected = read(content)
    expected[1] |= {"email": None, "phone": 0, "people": people}
    assert told == Rewritten(3, 1, 3)
    assert read(after) == expected


def test_text_that_must_be_something_becomes_a_hash_that_is_not_found_again() -> None:
    schema = {"type": "record", "name": "row", "fields": [{"name": "email", "type": "string"}]}
    out = io.BytesIO()
    fastavro.writer(out, schema, [{"email": SUBJECT}, {"email": "a@x"}])
    after = rewritten(out.getvalue(), redaction=Redaction(KEY))[1]
    hidden, other = (one["email"] for one in read(after))
    assert (hidden[:12], other) == ("hmac-sha256:", "a@x")
    assert hidden != Scrubber(KEY).hash(SUBJECT)
    assert rewritten(after, redaction=Redaction(KEY))[0].matched == 0


def test_nothing_of_the_subject_is_left_in_the_bytes() -> None:
    content = file(rows_of("a@x", SUBJECT, "b@x"))
    assert SUBJECT.encode() in content
    assert SUBJECT.encode() not in rewritten(content)[1]
    assert SUBJECT.encode() not in rewritten(content, redaction=Redaction(KEY))[1]


def test_column_of_several_types_is_an_error_and_not_passed_over() -> None:
    union = ["string", "long"]
    schema = {"type": "record", "name": "row", "fields": [{"name": "email", "type": union}]}
    out = io.BytesIO()
    fastavro.writer(out, schema, [{"email": SUBJECT}])
    with pytest.raises(SchemaError, match="several types"):
        rewritten(out.getvalue())


USER = record_type({"name": "user", "type": "string", "subject": "controller_customer_id"})
UUID_TEXT = "00000000-0000-0000-0000-00000000002a"
DECIMAL = {"logicalType": "decimal", "precision": 20, "scale": 2}
ID_TYPES: dict[str, tuple[Any, bytes, str]] = {
    "decimal": ({"type": "bytes", **DECIMAL}, b"\x04\x10\x68", "42"),
    "fixed-decimal": (
        {"type": "fixed", "name": "d", "size": 9, **DECIMAL},
        b"\x00\x00\x00\x00\x00\x00\x00\x10\x68",
        "42",
    ),
    "fixed-uuid": (
        {"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"},
        bytes(15) + b"\x2a",
        UUID_TEXT,
    ),
    "uuid": ({"type": "string", "logicalType": "uuid"}, b"\x48" + UUID_TEXT.encode(), UUID_TEXT),
    "claimed": ({"type": "string", "logicalType": "decimal"}, b"\x0442", "42"),
}


@pytest.mark.parametrize("name", ID_TYPES)
def test_id_is_found_as_text_whatever_its_bytes_are(name: str) -> None:
    kind, encoded, text = ID_TYPES[name]
    wanted = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, text)
    found = IdentityMatcher((wanted,), Scrubber(KEY))
    assert count_avro(io.BytesIO(one_row("user", kind, encoded)), USER, found).matched == 1


@pytest.mark.parametrize("name", ["decimal", "uuid"])
def test_redacted_row_can_be_read_whatever_the_types_are(name: str) -> None:
    kind, encoded, text = ID_TYPES[name]
    wanted = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, text)
    found, out = IdentityMatcher((wanted,), Scrubber(KEY)), io.BytesIO()
    content = io.BytesIO(one_row("user", kind, encoded))
    rewrite_avro(content, out, USER, found, Redaction(KEY))
    assert not int(read(out.getvalue())[0]["user"])


def one_row(column: str, kind: Any, encoded: bytes) -> bytes:
    """A file with one row of one column, whose bytes are given."""
    schema = {"type": "record", "name": "row", "fields": [{"name": column, "type": kind}]}
    out = io.BytesIO()
    fastavro.writer(out, schema, [])
    header = read_header(io.BytesIO(out.getvalue()))
    return header.encoded + encoded_block(AvroBlock(1, encoded), header)


@pytest.mark.parametrize("cut", [0, 3, 40, 300, -1])
def test_damaged_file_is_an_error(cut: int) -> None:
    content = file(rows_of("a@x", SUBJECT, "b@x"), "deflate")
    with pytest.raises(NotAvro):
        rewritten(content[:cut])


def test_damaged_block_is_an_error_that_repeats_nothing_of_it() -> None:
    content = file(rows_of("a@x", SUBJECT, "b@x"))
    with pytest.raises(NotAvro) as caught:
        rewritten(content.replace(b"abc", b"\xff" * 3).replace(b"(subject@", b"\xff\xff\xffject@"))
    assert "ject@" not in str(caught.value)


EMAILS = st.sampled_from(["a@x", "A@X ", "b@x", "c@x", None])
PEOPLE = st.lists(st.none() | EMAILS.map(lambda mail: {"mail": mail, "next": None}), max_size=2)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(EMAILS, PEOPLE), max_size=12),
    st.sets(st.sampled_from(["a@x", "b@x"]), min_size=1),
    st.integers(1, 5),
    st.sampled_from(["null", "deflate", "snappy", "zstandard"]),
    st.booleans(),
)
def test_rows_after_are_the_rows_before_without_the_subjects(
    values: list[tuple[str | None, list[Any]]],
    subjects: set[str],
    per_block: int,
    codec: str,
    redact: bool,
) -> None:
    rows = [row(n, email, people) for n, (email, people) in enumerate(values)]
    content = file(rows, codec, per_block)
    told, after = rewritten(content, *subjects, redaction=Redaction(KEY) if redact else None)
    gone = {n for n, one in enumerate(values) if subjects & _identities(*one)}
    assert told == Rewritten(len(rows), len(gone), len(rows) - (0 if redact else len(gone)))
    if after:
        others = [one for one in read(content) if one["n"] not in gone]
        assert [one for one in read(after) if one["n"] not in gone] == others
        assert rewritten(after, *subjects)[0].matched == 0


def _identities(email: str | None, people: list[Any]) -> set[str]:
    mails = [email, *(one["mail"] for one in people if one)]
    return {mail.strip().lower() for mail in mails if mail is not None}
