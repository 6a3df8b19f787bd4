"""Subjects in text: found however they are written, and never within another's name."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityFormat, IdentityType
from transforms.erasure.text import IdentityText
from transforms.scrub import Scrubber

EMAIL = "ana@acme.example"
SCRUBBER = Scrubber(b"0123456789abcdef")


def search(*identities: Identity, plus: bool = False) -> IdentityText:
    return IdentityText(identities, SCRUBBER, plus)


def email(value: str = EMAIL) -> Identity:
    return Identity(IdentityType.EMAIL, value)


def customer(value: str) -> Identity:
    return Identity(IdentityType.CONTROLLER_CUSTOMER_ID, value)


WRITTEN = {
    "plain": f"to {EMAIL}.",
    "in capitals": EMAIL.upper(),
    "in a link": f"https://acme.example/?to={quote(EMAIL)}&x=1",
    "escaped": f'{{"to":"{EMAIL.replace("@", chr(92) + "u0040")}"',
    "escaped twice": json.dumps(json.dumps({"to": "é\n" + EMAIL})),
    "behind an escape": json.dumps("first\n" + EMAIL)[:-1],
    "in base64": base64.b64encode(f'{{"to":"{EMAIL}", "x": 1}}'.encode()).decode(),
    "in broken base64": "x" + base64.b64encode(f'{{"to":"{EMAIL}", "x": 1}}'.encode()).decode(),
    "hashed": f"to {SCRUBBER.hash(EMAIL)}",
    "in brackets": f"Ana <{EMAIL}>",
    "with holes": "\0".join(EMAIL),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_address_is_found_however_it_is_written(how: str) -> None:
    assert search(email()).is_in(WRITTEN[how].encode())


@pytest.mark.parametrize(
    "text", ["joana@acme.example", f"jo.{EMAIL}", f"jo+{EMAIL}", f"{EMAIL}.org", f"{EMAIL}s"]
)
def test_address_within_another_is_not_found(text: str) -> None:
    assert not search(email()).is_in(f"to {text} now".encode())


def test_customer_id_keeps_its_case() -> None:
    looking = search(customer("U-1"))
    assert looking.is_subject("U-1")
    assert not looking.is_subject("u-1")
    assert not looking.is_in(b"user u-1 has left")


def test_customer_id_that_is_the_name_before_an_at_is_anothers() -> None:
    assert not search(customer("ana")).is_in(f"to {EMAIL}".encode())


@pytest.mark.parametrize("text", ['"userId": "42"', "userId=42,", '"userId":{"N":"42"}'])
def test_number_is_found_under_the_name_of_an_id(text: str) -> None:
    assert search(customer("42")).is_in(text.encode())


def test_number_elsewhere_is_no_subject() -> None:
    looking = search(customer("42"))
    assert not looking.is_in(b'"quantity": 42, "price": "42"')
    assert not looking.is_subject("42", "quantity")


def test_hash_of_an_address_finds_it_in_values_and_text() -> None:
    digest = hashlib.sha256(EMAIL.encode()).hexdigest()
    looking = search(Identity(IdentityType.EMAIL, digest, IdentityFormat.SHA256))
    assert looking.is_subject(f" {EMAIL.upper()} ")
    assert looking.is_in(f"mailto:{EMAIL}?subject=x".encode())
    assert not looking.is_in(f"jo{EMAIL}".encode())


def test_tags_of_addresses_are_left_out_if_asked() -> None:
    tagged = b"to ana+news@acme.example now"
    assert search(email(), plus=True).is_in(tagged)
    assert not search(email()).is_in(tagged)


@given(st.lists(st.text("abc@.", min_size=1, max_size=8), min_size=1), st.data())
def test_each_of_many_identities_is_found(words: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(words))
    looking = search(*map(customer, words))
    assert looking.is_in(f"so ({word}) it is".encode())
    assert looking.is_subject(word)
