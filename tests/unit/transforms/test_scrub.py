"""Scrubbing: what is personal does not leave, in rows or in dead letters."""

from __future__ import annotations

import base64
import hmac
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from records import (
    DECODER,
    REGISTRY,
    block,
    change,
    column,
    compact,
    decode,
    deliver,
    demand,
    kinesis_event,
    probe,
    stream_event,
    type_with,
)

from schemas.changes import ErrorCode, Fault, InputFormat, Position, Reject, Stage
from schemas.registry import Registry
from transforms.scrub import HASH_PREFIX, Scrubber, mask
from transforms.validate import validate

KEY = b"0123456789abcdef"
SCRUBBER = Scrubber(KEY)
ADDRESS = "ana.silva@example.com"
HASH = SCRUBBER.hash(ADDRESS)


def personal(name: str, scrub: str) -> dict[str, Any]:
    return {"name": name, "type": ["null", "string"], "default": None, "pii": name, "scrub": scrub}


SCRUBBED = type_with(personal("mail", "hash"), personal("name", "mask"), personal("note", "drop"))
PEOPLE = Registry({"probe": SCRUBBED})


def scrubbed(**attributes: Any) -> dict[str, Any]:
    batch = SCRUBBER.scrub(deliver(probe(**attributes), registry=PEOPLE))
    return {name: column(batch, name)[0] for name in ("mail", "name", "note")}


def dead(original: bytes, known: bool = False) -> bytes:
    """What is kept of a rejected record, of a known type or of none."""
    fault = Fault(ErrorCode.INVALID_JSON)
    reject = Reject(fault, Stage.DECODE, Position("file", 0, 0), original)
    return SCRUBBER.scrub_reject(replace(reject, record_type=SCRUBBED if known else None)).original


def test_a_hash_is_the_hmac_of_the_normalised_value() -> None:
    expected = hmac.new(KEY, ADDRESS.encode(), "sha256").hexdigest()
    assert SCRUBBER.hash(f"  {ADDRESS.upper()}\n") == HASH_PREFIX + expected


def test_composed_and_decomposed_letters_hash_alike() -> None:
    assert SCRUBBER.hash("jose\u0301@example.com") == SCRUBBER.hash("JOSÉ@example.com")


def test_another_key_gives_another_hash() -> None:
    assert Scrubber(KEY[::-1]).hash(ADDRESS) != HASH


HALVES = ["\\ud83d", "\\ude00", "\\ud83d\\ud83d"]
"""What producers leave that cut a text within a character of two surrogates."""


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("text", ["{}ana@b.example", "ana@b.example{}", "a{}na@b{}.example"])
def test_address_beside_half_a_pair_of_surrogates_is_hashed(half: str, text: str) -> None:
    written = text.replace("{}", half)
    original = f'{{"mail":"{written}","note":"write to {written}, now"}}'.encode()
    assert b"@" not in dead(original)
    assert b"@" not in dead(original, known=True)
    assert HASH_PREFIX.encode() in dead(original)


@given(value=st.text(st.characters(codec=None, categories=["Cs", "L", "Nd"])))
def test_every_text_has_a_hash(value: str) -> None:
    assert SCRUBBER.hash(value).startswith(HASH_PREFIX)


@given(value=st.text())
def test_hashing_again_changes_nothing(value: str) -> None:
    assert SCRUBBER.hash(SCRUBBER.hash(value)) == SCRUBBER.hash(value)


@given(value=st.text())
def test_masking_again_changes_nothing(value: str) -> None:
    assert mask(mask(value)) == mask(value)


@given(value=st.text())
def test_a_mask_shows_at_most_two_characters(value: str) -> None:
    hidden = mask(value)
    assert len(hidden) == len(value)
    assert set(hidden[:-2] if len(value) > 2 else hidden) <= {"*"}


@given(value=st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
def test_rows_are_scrubbed_as_their_schema_says(value: str) -> None:
    found = scrubbed(mail={"S": value}, name={"S": value}, note={"S": value})
    assert found == {"mail": SCRUBBER.hash(value), "name": mask(value), "note": None}


def test_null_stays_null() -> None:
    assert scrubbed() == {"mail": None, "name": None, "note": None}


def test_fields_to_keep_are_kept() -> None:
    batch = SCRUBBER.scrub(deliver(change(demand(email={"S": ADDRESS}))))
    assert column(batch, "email") == [ADDRESS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ADDRESS, HASH),
        (r"ana.silva\u0040example.com", HASH),
        (r"\u0061na.silva@ex\u0061mple.com", HASH),
        ("ana.silva%40example.com", HASH),
        (r"first\nana.silva@example.com", r"first\n" + HASH),
        ("mailto:ana.silva@example.com?subject=x", f"mailto:{HASH}?subject=x"),
        (
            "https://a.example/?mail=ana.silva@example.com&x=1",
            f"https://a.example/?mail={HASH}&x=1",
        ),
        ("'ana.silva@example.com'", f"'{HASH}'"),
        ("ana.silva@example.com.", f"{HASH}."),
        ("4111 1111 1111 1111", "*" * 17 + "11"),
        ("4111-1111-1111-1111", "*" * 17 + "11"),
        ("3782 822463 10005", "*" * 15 + "05"),
        ('"4111111111111111"', '"' + "*" * 14 + '11"'),
        ('{"card":4111111111111111}', '{"card":9999999999999911}'),
        ("123-45-6789", "*********89"),
        ("+44 20 7946 0958", "*" * 14 + "58"),
        ("+1 (202) 555-0143", "*" * 15 + "43"),
        (r"\u002b12025550143", "*" * 15 + "43"),
    ],
)
def test_personal_data_in_text_is_scrubbed(text: str, expected: str) -> None:
    assert SCRUBBER.scrub_bytes(text.encode()).decode() == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"ApproximateCreationDateTime":1767225600000}',
        '{"WriteTimestampMicros":{"N":"1767225600000000"}}',
        '{"updatedAt":{"S":"2026-01-02T03:04:05.123+01:00"}}',
        '{"SequenceNumber":"000000100000000000137","SizeBytes":4111}',
        '{"eventID":"5f0c9a4e-1234-4567-8901-123456789012"}',
        '{"N":"12345678901234567890.5"}',
        '{"N":"4111111111111112"}',
        "user at example dot com",
        "a@b",
    ],
)
def test_what_is_not_personal_stays(text: str) -> None:
    assert SCRUBBER.scrub_bytes(text.encode()) == text.encode()


addresses = st.emails()


def escape(address: str, letters: set[int]) -> str:
    return "".join(
        f"\\u{ord(c):04x}" if place in letters or c in '"\\' else c
        for place, c in enumerate(address)
    )


@given(
    address=addresses,
    letters=st.sets(st.integers(0, 30)),
    before=st.sampled_from(['"', " ", "\\n"]),
)
def test_no_address_remains_however_it_is_escaped(
    address: str, letters: set[int], before: str
) -> None:
    written = escape(address, letters)
    kept = SCRUBBER.scrub_bytes(f'{{"a":{before}{written}", oops'.encode()).decode()
    assert written not in kept
    assert address not in re.sub(r"\\u(....)", lambda m: chr(int(m[1], 16)), kept)


def leaves(address: str, document: bytes) -> bool:
    """Whether an address can be read in what is kept of a document, or in base64 within it."""
    kept = dead(document)
    inner = re.findall(rb"[A-Za-z0-9+/]{16,}", kept)
    texts = [kept, *(base64.b64decode(part[: len(part) // 4 * 4]) for part in inner)]
    return any(address.encode() in text for text in texts)


@given(address=addresses, lost=st.integers(1, 40), tail=st.text(max_size=9))
@example(address="a@b.example", lost=1, tail="\x7f")
@example(address="0@A.AC", lost=1, tail="\\")
def test_no_address_remains_in_records_that_do_not_parse(
    address: str, lost: int, tail: str
) -> None:
    image = demand(email={"S": address}, note={"S": tail + address})
    record = change(json.dumps(json.loads(image), ensure_ascii=False))
    assert not leaves(address, record[:-lost])
    assert not leaves(address, stream_event([record, record])[:-lost])
    assert not leaves(address, kinesis_event([record, record])[:-lost])


@given(address=addresses)
def test_no_address_remains_in_a_record_of_unknown_type(address: str) -> None:
    record = change(demand(type={"S": "coupon"}, email={"S": address}))
    (found,) = SCRUBBER.scrub(decode(record)).rejects
    assert address.encode() not in found.original
    assert json.loads(found.original)["eventName"] == "INSERT"


def test_base64_with_escaped_slashes_is_looked_into() -> None:
    inner = base64.b64encode(f'{{"mail":"{ADDRESS}","x":"???>>>"}}'.encode()).decode()
    text = '{"data":"' + inner.replace("/", "\\/") + '"'
    kept = json.loads(dead(text.encode()) + b"}")["data"]
    assert json.loads(base64.b64decode(kept)) == {"mail": HASH, "x": "???>>>"}


def test_base64_that_is_no_text_stays() -> None:
    binary = base64.b64encode(bytes(range(256)) * 4 + b"ana@example.com")
    assert dead(binary) == binary


def test_base64_behind_a_broken_place_is_looked_into() -> None:
    inner = base64.b64encode(f'{{"mail":"x","note":"{ADDRESS} {ADDRESS}"}}'.encode())
    assert not leaves(ADDRESS, inner[:11] + b"!" + inner[12:])


def test_scrubbing_dead_letters_again_changes_nothing() -> None:
    record = change(demand(type={"S": "coupon"}))
    assert dead(dead(record)) == dead(record)
    assert dead(dead(record, known=True), known=True) == dead(record, known=True)


PERSON = {"mail": {"S": ADDRESS}, "name": {"S": "Ana Silva"}, "note": {"S": "is ill"}}


def test_a_known_record_is_scrubbed_field_by_field() -> None:
    kept = json.loads(dead(probe(**PERSON, x={"N": "1.50"}), known=True))
    image = kept["dynamodb"]["NewImage"]
    assert (image["mail"], image["name"]) == ({"S": HASH}, {"S": mask("Ana Silva")})
    assert ("note" in image, image["x"], image["id"]) == (False, {"N": "1.50"}, {"S": "1"})


def test_a_scrubbed_record_can_be_replayed() -> None:
    replayed = dead(probe(**PERSON), known=True)
    batch = SCRUBBER.scrub(deliver(replayed, registry=PEOPLE))
    found = [column(batch, name)[0] for name in ("mail", "name", "note")]
    assert found == [HASH, mask("Ana Silva"), None]


def test_a_known_record_that_keeps_its_fields_is_kept_as_it_is() -> None:
    record = change(demand(quantity={"N": "0"}))
    (found,) = SCRUBBER.scrub(deliver(record)).rejects
    assert json.loads(found.original) == json.loads(record)


def test_a_known_record_that_does_not_parse_is_scrubbed_by_pattern() -> None:
    kept = dead(probe(**PERSON)[:-1], known=True)
    assert ADDRESS.encode() not in kept


def test_a_fault_in_an_event_lets_none_of_its_records_out() -> None:
    assert REGISTRY["demand"].field("phone").scrub == "mask"
    good = change(demand(phone={"S": "+44 20 7946 0958"}))
    bad = change(demand(quantity={"N": "0"}, phone={"S": "020 7946 0958"}))
    event = block(kinesis_event([good, bad]), fmt=InputFormat.LAMBDA_KINESIS)
    (found,) = SCRUBBER.scrub(validate(DECODER.decode(event))).rejects
    image = json.loads(found.original)["dynamodb"]["NewImage"]
    assert image["phone"] == {"S": "***********58"}


def test_plain_images_are_scrubbed_too() -> None:
    event = {"op": "c", "after": {"type": "probe", "mail": ADDRESS, "name": "Ana", "note": "x"}}
    kept = json.loads(dead(compact(event).encode(), known=True))
    assert kept["after"] == {"type": "probe", "mail": HASH, "name": "*na"}


def test_base64_of_a_record_with_a_broken_byte_is_looked_into() -> None:
    inner = base64.b64encode(change(demand(email={"S": ADDRESS})).replace(b"u-1", b"\x00\xff"))
    assert not leaves(ADDRESS, b'{"data":"' + inner)
