"""Subjects of whom only hashes are known are found in text where an erasure finds them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityType
from transforms.erasure.letters import is_record_of
from transforms.erasure.search import SuppressedText
from transforms.erasure.text import IdentityText, TextSearch, runs_of, words_of
from transforms.scrub import Scrubber
from transforms.subject_hashes import SubjectHasher

KEY = b"0123456789abcdef"
TAGGED = Identity(IdentityType.EMAIL, "ana+other@acme.example")
HASHES = [
    Scrubber(KEY).hash(value)
    for value in ("ana@acme.example", TAGGED.value, "bo@acme.example", "ana+3@acme.example")
]


def by_identity(identity: Identity, plus: bool = False) -> TextSearch:
    return IdentityText((identity,), Scrubber(KEY), plus)


def by_hash(identity: Identity, plus: bool = False) -> TextSearch:
    return SuppressedText((SubjectHasher(KEY, plus).suppressed(identity),), KEY)


SEARCHES = pytest.mark.parametrize("search", [by_identity, by_hash])


def customer(value: str) -> Identity:
    return Identity(IdentityType.CONTROLLER_CUSTOMER_ID, value)


@SEARCHES
def test_stored_address_without_its_tag_is_hers_if_tags_make_no_difference(search: Any) -> None:
    hers = search(TAGGED, plus=True)
    assert [hers.is_subject(hash_) for hash_ in HASHES] == [True, True, False, False]
    texts = [f'{{"to": "{hash_}", '.encode() for hash_ in HASHES]
    assert [is_record_of(text, hers) for text in texts] == [True, True, False, False]


@SEARCHES
def test_stored_address_without_its_tag_is_anothers_if_tags_make_one(search: Any) -> None:
    hers = search(TAGGED)
    assert [hers.is_subject(hash_) for hash_ in HASHES] == [False, True, False, False]


IDS = ["auth0|5f7c8ec7c33c", "acme/eu/17", "team#4", "dG8gYW5hCg==", "a=b", "urn:user:7x"]
BROKEN = {
    "a value": '{"userId": "%s", ',
    "a value that is cut off": '{"userId": "%s',
    "a list": '{"ids": [x,%s;y], ',
    "a remark": "{ of (%s).",
    "what a name stands for": "{ userId=%s",
    "a parameter": "{ https://acme.example/?a=1&user=%s&b=2",
    "a value of a log": "{ userId:%s ",
}


@SEARCHES
@pytest.mark.parametrize("hers", IDS)
@pytest.mark.parametrize("where", BROKEN)
def test_id_that_holds_punctuation_is_found_in_a_record_that_is_broken(
    search: Any, where: str, hers: str
) -> None:
    record = (BROKEN[where] % hers).encode()
    assert is_record_of(record, search(customer(hers)))
    assert not is_record_of(record, search(customer("x" + hers)))


@SEARCHES
def test_each_of_many_that_are_listed_with_bars_is_found(search: Any) -> None:
    record = b"{ ana@acme.example|bo@acme.example|4|"
    emails = ["ana@acme.example", "bo@acme.example", "cy@acme.example"]
    found = [is_record_of(record, search(Identity(IdentityType.EMAIL, one))) for one in emails]
    assert found == [True, True, False]


@given(st.text("ab1.:+-@|=&?/#, ", max_size=60))
def test_what_is_looked_at_grows_with_a_text_and_not_faster(text: str) -> None:
    assert sum(map(len, [*words_of(text), *runs_of(text)])) <= 20 * len(text)


@pytest.mark.parametrize("unit", [".", "+", "a", "a=", "a:", "a=b&", "|", "#", "\u00e9|"])
def test_long_text_without_white_space_is_looked_through(unit: str) -> None:
    """With an effort that grew with the square this would take minutes."""
    hers = by_hash(customer("auth0|5f"))
    long = (unit * 300_000)[:300_000]
    assert not hers.is_in(long.encode())
    assert hers.is_in(f"{long} auth0|5f".encode())
