"""Dead letters of a subject leave, whatever was wrong with them; the others stay as they are."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from datetime import UTC, datetime

import pytest

from schemas.changes import ErrorCode, Fault, Position, Reject, Stage
from schemas.delivery import dead_letter, encode_dead_letter
from schemas.dsr import Identity, IdentityFormat, IdentityType
from transforms.erasure.letters import count_letters, rewrite_letters
from transforms.erasure.rewritten import Rewritten
from transforms.erasure.text import IdentityText
from transforms.scrub import Scrubber

EMAIL = "ana@acme.example"
SEARCH = IdentityText(
    (Identity(IdentityType.EMAIL, EMAIL), Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "77")),
    Scrubber(b"0123456789abcdef"),
)
KINESIS = base64.b64encode(json.dumps({"to": EMAIL, "n": 1}).encode()).decode()

HERS = {
    "a value": json.dumps({"dynamodb": {"NewImage": {"to": {"S": EMAIL}}}}).encode(),
    "an unknown name": json.dumps({"x": [{"y": EMAIL.upper()}]}).encode(),
    "a name": json.dumps({EMAIL: 1}).encode(),
    "a number": json.dumps({"userId": 77}).encode(),
    "a typed number": json.dumps({"userId": {"N": "77"}}).encode(),
    "an event in base64": json.dumps({"kinesis": {"data": KINESIS}}).encode(),
    "a remark": json.dumps({"note": f"call {EMAIL}"}).encode(),
    "broken JSON": f'{{"to": "{EMAIL}", '.encode(),
    "no text": b"\xff\xfe" + EMAIL.encode() + b"\xff",
}
OTHERS = [b'{"to": "joana@acme.example"}', b'{"n": 77}', b"{", b"\xff\x00"]


def letter(original: bytes) -> bytes:
    origin = Position("a.ndjson", len(original), 0)
    reject = Reject(Fault(ErrorCode.INVALID_JSON), Stage.DECODE, origin, original)
    return encode_dead_letter(dead_letter(reject, datetime(2026, 1, 1, tzinfo=UTC)))


@pytest.mark.parametrize("where", HERS)
def test_letter_is_found_by(where: str) -> None:
    assert count_letters(io.BytesIO(letter(HERS[where])), SEARCH) == Rewritten(1, 1, 0)


def test_half_of_a_surrogate_pair_hides_nothing_and_stops_nothing() -> None:
    halves = letter(b'{"to": "\\ud83c", "id": "77"}'), letter(b'{"to": "\\ud83c"}')
    digest = hashlib.sha256(b"77").hexdigest()
    customer = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, digest, IdentityFormat.SHA256)
    by_digest = IdentityText((customer,), Scrubber(b"0123456789abcdef"))
    for search in (SEARCH, by_digest):
        assert count_letters(io.BytesIO(b"".join(halves)), search) == Rewritten(2, 1, 1)


def test_other_letters_stay_byte_for_byte() -> None:
    others = b"".join(map(letter, OTHERS))
    sink = io.BytesIO()
    done = rewrite_letters(io.BytesIO(letter(HERS["a value"]) + others), sink, SEARCH)
    assert done == Rewritten(5, 1, 4)
    assert sink.getvalue() == others


def test_line_that_is_no_letter_is_looked_at_as_text() -> None:
    lines = f"{EMAIL}\nnothing of hers\n".encode()
    assert count_letters(io.BytesIO(lines), SEARCH) == Rewritten(2, 1, 1)
