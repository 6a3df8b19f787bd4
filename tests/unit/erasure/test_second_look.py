"""The second look sees subjects wherever the first is to find them, in every kind of file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tempfile
import tracemalloc
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.erasure import FileKind
from schemas.errors import InputError
from schemas.identities import normalised_value
from schemas.registry import Registry, build_record_type
from stores.lake_files import LakeFile
from stores.objects import LocalObjectStore
from tests.erasing import EMAIL, OTHER, Secrets
from transforms.erasure.files import look_again
from transforms.erasure.matching import IdentityMatcher
from transforms.erasure.second_look import SecondLook, SecondReader
from transforms.erasure.second_words import normalised_each
from transforms.scrub import ScrubKey

KEY = ScrubKey.of(Secrets())
STORED = KEY.scrubber().hash(EMAIL)
HERS = Identity(IdentityType.EMAIL, EMAIL)
CUSTOMER = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "U-7")
CONTACT = {
    "type": "record",
    "name": "contact",
    "fields": [{"name": "email", "type": "string", "subject": "email"}],
}
TYPE = build_record_type(
    {
        "type": "record",
        "name": "visit",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "type", "type": "string"},
            {"name": "version", "type": "long"},
            {
                "name": "at",
                "type": {"type": "long", "logicalType": "timestamp-micros"},
                "partition": True,
            },
            {"name": "email", "type": ["null", "string"], "subject": "email"},
            {"name": "user", "type": "string", "subject": "controller_customer_id"},
            {"name": "channel", "type": "string"},
            {
                "name": "address",
                "type": "string",
                "subject": "email",
                "subjectWhen": {"channel": "email"},
            },
            {"name": "contacts", "type": {"type": "array", "items": CONTACT}},
        ],
    }
)

FLAT_EMAIL = {"name": "email", "type": ["null", "string"]}
FLAT = [member for member in TYPE.avro["fields"] if member["name"] != "contacts"]

ROWS: dict[str, tuple[dict[str, Any], bool]] = {
    "the subject's": ({"email": EMAIL.upper()}, True),
    "another's": ({"email": OTHER}, False),
    "nobody's": ({"email": None}, False),
    "a customer's": ({"user": "U-7"}, True),
    "a customer's in other case": ({"user": "u-7"}, False),
    "a hashed one's": ({"email": KEY.scrubber().hash(EMAIL)}, True),
    "a condition met": ({"channel": "email", "address": EMAIL}, True),
    "a condition not met": ({"channel": "sms", "address": EMAIL}, False),
    "one of many's": ({"contacts": [{"email": OTHER}, {"email": EMAIL}]}, True),
    "a value elsewhere": ({"id": EMAIL}, False),
}


def row(values: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "email": None, "user": "", "channel": "", "address": "", "contacts": [],
            **values}  # fmt: skip


def readers(*identities: Identity) -> list[SecondReader]:
    """One that knows the subjects, and one that has nothing but their hashes."""
    registry = Registry({"visit": TYPE, "flat": replace(TYPE, avro={**TYPE.avro, "fields": FLAT})})
    look = SecondLook.for_identities(KEY, registry, identities or (HERS, CUSTOMER))
    return [look.open(), replace(look, plain=None).open()]


def found(
    folder: Path, name: str, content: bytes, *identities: Identity, kind: str = "visit"
) -> int:
    store = LocalObjectStore(folder)
    info = store.put(f"type={kind}/date=2026-01-02/{name}", content)
    file_kind = FileKind.DEAD_LETTERS if name.startswith("letters") else FileKind.DATA
    file = LakeFile(info, file_kind, kind, None)
    counts = {look_again(reader, file, store).found for reader in readers(*identities)}
    (count,) = counts
    return count


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    contact = pa.list_(pa.struct([("email", pa.string())]))
    texts = [(name, pa.string()) for name in ("id", "email", "user", "channel", "address")]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([*texts, ("contacts", contact)])), sink)
    return sink.getvalue().to_pybytes()


def avro(rows: list[dict[str, Any]]) -> bytes:
    members = [{"name": name, "type": "string"} for name in ("id", "user", "channel", "address")]
    members.append({"name": "email", "type": ["null", "string"]})
    members.append({"name": "contacts", "type": {"type": "array", "items": CONTACT}})
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "visit", "fields": members}, rows)
    return sink.getvalue()


@pytest.mark.parametrize("whose", ROWS)
def test_row_in_parquet(tmp_path: Path, whose: str) -> None:
    values, is_hers = ROWS[whose]
    assert found(tmp_path, "a.parquet", parquet([row({}), row(values)])) == is_hers


@pytest.mark.parametrize("whose", [whose for whose in ROWS if whose != "one of many's"])
def test_row_in_avro_without_lists(tmp_path: Path, whose: str) -> None:
    values, is_hers = ROWS[whose]
    assert found(tmp_path, "a.avro", avro([row({}), row(values)]), kind="flat") == is_hers


@pytest.mark.parametrize("whose", ROWS)
def test_row_in_avro(tmp_path: Path, whose: str) -> None:
    values, is_hers = ROWS[whose]
    assert found(tmp_path, "a.avro", avro([row({}), row(values)])) == is_hers


@pytest.mark.parametrize(("channel", "count"), [("email", 1), ("sms", 0)])
def test_row_in_avro_whose_condition_is_an_enum(tmp_path: Path, channel: str, count: int) -> None:
    symbols = {"type": "enum", "name": "channels", "symbols": ["email", "sms"]}
    members = [{"name": "channel", "type": symbols}, {"name": "address", "type": "string"}]
    sink = io.BytesIO()
    schema = {"type": "record", "name": "visit", "fields": members}
    fastavro.writer(sink, schema, [{"channel": channel, "address": EMAIL}])
    assert found(tmp_path, "a.avro", sink.getvalue(), kind="flat") == count


@settings(max_examples=30)
@given(st.lists(st.sampled_from([EMAIL, OTHER, EMAIL.title(), "x" * 9000, "", None]), max_size=9))
def test_every_row_of_the_subject_in_avro_is_counted_whoever_reads_it(
    emails: list[str | None],
) -> None:
    kind = {"type": "record", "name": "visit", "fields": [FLAT_EMAIL]}
    sink, hers = io.BytesIO(), sum(email is not None and email.lower() == EMAIL for email in emails)
    fastavro.writer(sink, kind, ({"email": email} for email in emails), sync_interval=20)
    with tempfile.TemporaryDirectory() as folder:
        assert found(Path(folder), "a.avro", sink.getvalue(), kind="flat") == hers


@pytest.mark.parametrize("whose", ROWS)
def test_first_look_sees_the_same(whose: str) -> None:
    values, is_hers = ROWS[whose]
    table = pq.read_table(io.BytesIO(parquet([row(values)])))
    matcher = IdentityMatcher((HERS, CUSTOMER), KEY.scrubber())
    (batch,) = table.to_batches()
    assert matcher.mask(TYPE, batch).to_pylist() == [is_hers]


@pytest.mark.parametrize("at_hand", [True, False])
@pytest.mark.parametrize("kind", ["visit", "unknown"])
def test_stored_address_without_its_tag_is_seen_if_tags_make_no_difference(
    tmp_path: Path, kind: str, at_hand: bool
) -> None:
    tagged = Identity(IdentityType.EMAIL, EMAIL.replace("@", "+other@"))
    look = SecondLook.for_identities(KEY, Registry({"visit": TYPE}), [tagged], True)
    reader = (look if at_hand else replace(look, plain=None)).open()
    store = LocalObjectStore(tmp_path)
    content = parquet([row({"email": STORED}), row({"email": KEY.scrubber().hash(OTHER)})])
    file = LakeFile(store.put("a.parquet", content), FileKind.DATA, kind, None)
    assert look_again(reader, file, store).found == 1


def test_type_that_no_schema_names_is_looked_through(tmp_path: Path) -> None:
    content = parquet([row({"id": EMAIL}), row({})])
    assert found(tmp_path, "a.parquet", content, kind="unknown") == 1


def test_digest_is_held_against_every_value(tmp_path: Path) -> None:
    digest = hashlib.sha256(EMAIL.encode()).hexdigest()
    given = Identity(IdentityType.EMAIL, digest, IdentityFormat.SHA256)
    content = parquet([row({"email": EMAIL}), row({"email": OTHER})])
    assert found(tmp_path, "a.parquet", content, given) == 1


TEXTS = {
    "letters.ndjson": (f'{{"to": "{EMAIL}"}}\n{{"to": "{OTHER}"}}\nbroken <{EMAIL}>\n', 2),
    "a.csv": (f"id,to\n1,{EMAIL}\n2,{OTHER}\n", 1),
    "a.ndjson": (f'{{"contact": {{"to": "{EMAIL}"}}}}\n', 1),
    "with_original.ndjson": (f'{{"original": "a.csv", "to": "{EMAIL}"}}\n', 1),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_looked_through_packed_or_not(tmp_path: Path, name: str) -> None:
    text, count = TEXTS[name]
    assert found(tmp_path, name, text.encode()) == count
    if not name.startswith("letters"):
        assert found(tmp_path, f"{name}.gz", gzip.compress(text.encode())) == count


def test_array_that_is_one_long_line_is_not_held_as_a_whole(tmp_path: Path) -> None:
    members = [{"to": OTHER, "note": "x" * 1000} for _ in range(4000)]
    content = json.dumps([*members, {"to": EMAIL}]).encode()
    tracemalloc.start()
    count = found(tmp_path, "a.json", content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1
    assert peak < 3 * len(content)


NUMBERS = {
    "letters.ndjson": '{{"NewImage": {{"{0}": {{"N": "42"}}}}}}\n',
    "a.ndjson": '{{"{0}": "42", "n": {{"{0}": 42}}}}\n',
}


@pytest.mark.parametrize("name", NUMBERS)
def test_number_is_an_id_under_the_name_of_one_alone(tmp_path: Path, name: str) -> None:
    given = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "42")
    assert found(tmp_path, name, NUMBERS[name].format("userId").encode(), given) == 1
    assert found(tmp_path, name, NUMBERS[name].format("quantity").encode(), given) == 0


def test_text_that_is_no_utf8_and_numbers_with_a_fraction_are_looked_at(tmp_path: Path) -> None:
    encoded = pa.array([b"\xff", EMAIL.encode()], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 2, encoded.buffers())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"email": broken, "user": [7e11, 1.5]}), sink)
    number = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "700000000000")
    assert found(tmp_path, "a.parquet", sink.getvalue().to_pybytes(), HERS, number) == 2


def test_list_in_the_place_of_a_value_is_looked_through(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"email": [[OTHER], [OTHER, EMAIL], None]}), sink)
    assert found(tmp_path, "a.parquet", sink.getvalue().to_pybytes()) == 1


EXTRAS: dict[str, tuple[str | None, bool]] = {
    "a field": (f'{{"email": "{EMAIL}"}}', True),
    "a list of it": (f'{{"email": ["{OTHER}", {{"a": "{EMAIL}"}}]}}', True),
    "a record": (f'{{"contacts": [{{"email": "{OTHER}"}}, {{"email": "{EMAIL}"}}]}}', True),
    "another field": (f'{{"remark": "{EMAIL}"}}', False),
    "a condition not met": (f'{{"address": "{EMAIL}"}}', False),
    "no JSON": (EMAIL, False),
    "no object": (f'["{EMAIL}"]', False),
    "nothing": (None, False),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_field_that_a_file_is_older_than_is_looked_for_among_the_extra_ones(
    tmp_path: Path, name: str
) -> None:
    extra, is_hers = EXTRAS[name]
    table, sink, rows = pa.BufferOutputStream(), io.BytesIO(), {"channel": "sms", "extra": extra}
    pq.write_table(pa.Table.from_pylist([rows]), table)
    members = [{"name": one, "type": ["null", "string"]} for one in rows]
    fastavro.writer(sink, {"type": "record", "name": "visit", "fields": members}, [rows])
    assert found(tmp_path, "a.parquet", table.getvalue().to_pybytes()) == is_hers
    assert found(tmp_path, "a.avro", sink.getvalue()) == is_hers
    (batch,) = pa.Table.from_pylist([rows]).to_batches()
    assert IdentityMatcher((HERS,), KEY.scrubber()).mask(TYPE, batch).to_pylist() == [is_hers]


def test_schema_that_the_reader_does_not_know_is_an_error_of_the_file(tmp_path: Path) -> None:
    kind = {"type": "record", "name": "visit", "fields": [{"name": "email", "type": "string"}]}
    sink = io.BytesIO()
    fastavro.writer(sink, {**kind, "doc": "x" * 20}, [{"email": OTHER}])
    content = sink.getvalue().replace(b'"type": "string"', b'"type": {"type":{"type":"string"}}')
    shorter = content.replace(b"x" * 20, b"xx")
    with pytest.raises(InputError, match="schema"):
        found(tmp_path, "a.avro", shorter)


@given(st.lists(st.sampled_from([" a B ", "Ana", "", "\t", "É", "e\u0301", "a+b@c", "a\x1fb"])))
def test_words_together_are_normalised_as_each_is(words: list[str]) -> None:
    for kind, plus in product((IdentityType.EMAIL, IdentityType.CONTROLLER_CUSTOMER_ID), (0, 1)):
        each = [normalised_value(word, kind, bool(plus)) for word in words]
        assert normalised_each(words, kind, bool(plus)) == each


def test_csv_with_a_long_cell_is_looked_through(tmp_path: Path) -> None:
    content = f"to,note\n{EMAIL},{'x' * 200_000}\n{OTHER},\n"
    assert found(tmp_path, "a.csv", content.encode()) == 1


@given(st.lists(st.sampled_from([EMAIL, OTHER, EMAIL.title(), None, ""]), max_size=20))
def test_every_row_of_the_subject_is_counted(emails: list[str | None]) -> None:
    content = parquet([row({"email": email}) for email in emails])
    with tempfile.TemporaryDirectory() as folder:
        hers = sum(email is not None and email.lower() == EMAIL for email in emails)
        assert found(Path(folder), "a.parquet", content) == hers
