"""Dead letters: one line each, that says where and why, and gives the record back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import REGISTRY, change, decode, deliver, demand

from schemas.changes import ErrorCode, Fault, Position, Reject, Stage
from schemas.delivery import (
    DeadLetter,
    dead_letter,
    decode_dead_letter,
    encode_dead_letter,
    original_bytes,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REJECT = Reject(
    Fault(ErrorCode.OUT_OF_RANGE, "quantity"),
    Stage.VALIDATE,
    Position("s3://bucket/file", 17, 2),
    b'{"quantity":{"N":"60"}}',
    REGISTRY["demand"],
)


def letter(reject: Reject = REJECT, time: datetime = NOW) -> DeadLetter:
    return dead_letter(reject, time)


@given(original=st.binary(), attempt=st.integers(1, 5), known=st.booleans())
def test_a_letter_comes_back_as_it_was_written(original: bytes, attempt: int, known: bool) -> None:
    record_type = REGISTRY["demand"] if known else None
    reject = replace(REJECT, original=original, attempt=attempt, record_type=record_type)
    line = encode_dead_letter(letter(reject))
    assert decode_dead_letter(line) == letter(reject)
    assert original_bytes(decode_dead_letter(line)) == original


@given(original=st.binary())
def test_a_letter_is_one_line(original: bytes) -> None:
    line = encode_dead_letter(letter(replace(REJECT, original=original)))
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")


def test_a_letter_says_all_that_is_known() -> None:
    found = msgspec.structs.asdict(letter())
    del found["id"]
    assert found == {
        "code": "out_of_range",
        "stage": "validate",
        "message": "quantity: the value is below the minimum or above the maximum",
        "field": "quantity",
        "source": "s3://bucket/file",
        "offset": 17,
        "index": 2,
        "time": NOW,
        "attempt": 1,
        "type": "demand",
        "schema_fingerprint": REGISTRY["demand"].fingerprint,
        "encoding": "utf-8",
        "original": '{"quantity":{"N":"60"}}',
        "sequence": None,
    }


@given(sequence=st.integers(0, 2**186))
def test_a_letter_of_a_stream_keeps_its_sequence_number(sequence: int) -> None:
    origin = Position("kinesis://eu-west-1/changes/shardId-0", sequence, 3)
    found = decode_dead_letter(encode_dead_letter(letter(replace(REJECT, origin=origin))))
    assert (found.offset, found.sequence, found.origin) == (None, str(sequence), origin)


def test_the_id_depends_on_the_place_alone() -> None:
    other = Reject(Fault(ErrorCode.NUL_BYTE), Stage.DECODE, REJECT.origin, b"", None, 3)
    assert letter(other, NOW.replace(year=2027)).id == letter().id


@pytest.mark.parametrize(
    "origin",
    [Position("s3://bucket/fil", 17, 2), Position("s3://bucket/file", 1, 72), Position("", 17, 2)],
)
def test_another_place_has_another_id(origin: Position) -> None:
    assert letter(replace(REJECT, origin=origin)).id != letter().id


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_reason_in_words(code: ErrorCode) -> None:
    assert " " in letter(replace(REJECT, fault=Fault(code))).message


SECRET = "zz9secret"


@pytest.mark.parametrize(
    "record",
    [
        change(demand(id={"S": SECRET * 50})),
        change(demand(currency={"S": SECRET})),
        change(demand(status={"S": SECRET})),
        change(demand(quantity={"N": SECRET})),
        change(demand(updatedAt={"S": SECRET})),
        change(demand(type={"S": SECRET})),
        change(demand(sections={"L": [{"N": SECRET}]})),
        change(demand(preferences={"M": {"note": {"N": SECRET}}})),
        change(demand(), SECRET),
        change(demand(id={"S": SECRET}))[:-1],
    ],
)
def test_no_message_holds_a_value(record: bytes) -> None:
    (reject,) = deliver(record).rejects
    found = letter(reject)
    assert SECRET not in found.message + (found.field or "") + found.id


def test_what_is_no_letter_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_dead_letter(b'{"id":"x"}')


def test_a_rejects_place_is_its_documents_first_byte() -> None:
    first = change(demand())
    (reject,) = decode(first, b"junk").rejects
    assert reject.origin == Position("file", len(first) + 1, 0)
