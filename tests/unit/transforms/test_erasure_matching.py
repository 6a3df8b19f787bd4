"""Which rows of a batch belong to subjects."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.identities import normalised
from tests.unit.schemas.record_types import array, record, record_type
from transforms.erasure.matching import IdentityMatcher, Matcher, SuppressedMatcher
from transforms.scrub import Scrubber
from transforms.subject_hashes import SubjectHasher

KEY = b"a key of sixteen bytes and more"
TYPE = record_type(
    {"name": "email", "type": "string", "subject": "email"},
    {"name": "user_id", "type": "string", "subject": "controller_customer_id"},
    {
        "name": "contacts",
        "type": array(record("contact", {"name": "mail", "type": "string", "subject": "email"})),
    },
)
ANA = Identity(IdentityType.EMAIL, "Ana@Acme.example")
USER = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "U-1")


def by_identity(*identities: Identity, plus_addressing: bool = False) -> Matcher:
    return IdentityMatcher(identities, Scrubber(KEY), plus_addressing)


def by_hash(*identities: Identity, plus_addressing: bool = False) -> Matcher:
    hasher = SubjectHasher(KEY, plus_addressing)
    return SuppressedMatcher(tuple(hasher.suppressed(one) for one in identities), KEY)


MATCHERS = pytest.mark.parametrize("matcher", [by_identity, by_hash])


def mask(matcher: Matcher, **columns: list[Any]) -> list[bool]:
    return list(matcher.mask(TYPE, pa.record_batch(columns)).to_pylist())


@MATCHERS
def test_case_and_white_space_make_no_difference(matcher: Any) -> None:
    emails = [" ana@ACME.example", None, "joana@acme.example", "ana@acme.example\n"]
    assert mask(matcher(ANA), email=emails) == [True, False, False, True]


@MATCHERS
def test_case_of_customer_ids_does(matcher: Any) -> None:
    assert mask(matcher(USER), user_id=["U-1", "u-1", " U-1 "]) == [True, False, True]


@MATCHERS
def test_identity_is_looked_for_in_columns_of_its_type_alone(matcher: Any) -> None:
    assert mask(matcher(ANA), user_id=[ANA.value], email=["b@x.org"]) == [False]


@MATCHERS
def test_any_column_of_any_subject_will_do(matcher: Any) -> None:
    rows = {"email": ["b@x.org", ANA.value, "c@x.org"], "user_id": ["U-1", "U-2", "U-3"]}
    assert mask(matcher(ANA, USER), **rows) == [True, True, False]


@MATCHERS
def test_row_matches_by_one_of_many_contacts(matcher: Any) -> None:
    contacts = [[{"mail": "b@x.org"}, {"mail": ANA.value}], [], None, [{"mail": None}]]
    assert mask(matcher(ANA), contacts=contacts) == [True, False, False, False]


@MATCHERS
def test_value_that_was_scrubbed_by_hash_matches(matcher: Any) -> None:
    stored = Scrubber(KEY).hash(ANA.value)
    others = [Scrubber(KEY).hash("b@x.org"), Scrubber(KEY[::-1]).hash(ANA.value)]
    assert mask(matcher(ANA), email=[stored, *others]) == [True, False, False]


@MATCHERS
def test_tags_of_addresses_make_no_difference_when_asked(matcher: Any) -> None:
    tagged = ["ana+shop@acme.example", "ana@acme.example"]
    assert mask(matcher(ANA, plus_addressing=True), email=tagged) == [True, True]
    assert mask(matcher(ANA), email=tagged) == [False, True]


@MATCHERS
def test_stored_address_without_its_tag_matches_if_tags_make_no_difference(matcher: Any) -> None:
    tagged = Identity(IdentityType.EMAIL, "ana+other@acme.example")
    stored = [
        Scrubber(KEY).hash(value) for value in (ANA.value, tagged.value, "ana+3@acme.example")
    ]
    assert mask(matcher(tagged, plus_addressing=True), email=stored) == [True, True, False]
    assert mask(matcher(tagged), email=stored) == [False, True, False]


@MATCHERS
def test_nobody_matches_nothing(matcher: Any) -> None:
    assert mask(matcher(), email=[ANA.value, None]) == [False, False]
    assert mask(matcher(ANA), email=pa.array([], pa.string())) == []


def test_lists_of_subjects_with_and_without_tags_are_heeded_together() -> None:
    bob = Identity(IdentityType.EMAIL, "bob@x.org")
    both = (SubjectHasher(KEY, True).suppressed(ANA), SubjectHasher(KEY).suppressed(bob))
    emails = ["ana+1@acme.example", "bob+1@x.org", "bob@x.org"]
    assert mask(SuppressedMatcher(both, KEY), email=emails) == [True, False, True]


@pytest.mark.parametrize("form", ["md5", "sha1", "sha256"])
def test_identity_given_as_a_digest_matches_plain_values(form: str) -> None:
    digest = hashlib.new(form, b"ana@acme.example").hexdigest().upper()
    matcher = by_identity(Identity(IdentityType.EMAIL, digest, IdentityFormat(form)))
    emails = ["ANA@acme.example", None, "b@x.org", "ANA@acme.example"]
    assert mask(matcher, email=emails) == [True, False, False, True]


def test_digest_of_a_value_as_it_is_written_matches_too() -> None:
    digest = hashlib.sha256(b"Ana@Acme.example").hexdigest()
    matcher = by_identity(Identity(IdentityType.EMAIL, digest, IdentityFormat.SHA256))
    assert mask(matcher, email=["Ana@Acme.example", "b@x.org"]) == [True, False]


TEXTS = st.text(st.sampled_from("aAbB+@. \tßİé́"), min_size=1, max_size=6)


@settings(max_examples=60)
@given(st.lists(st.none() | TEXTS), st.lists(TEXTS.filter(str.strip), max_size=4), st.booleans())
def test_rows_match_whose_normalised_value_is_a_subjects(
    emails: list[str | None], subjects: list[str], plus_addressing: bool
) -> None:
    identities = [Identity(IdentityType.EMAIL, text) for text in subjects]
    wanted = {normalised(one, plus_addressing) for one in identities}
    expected = [
        text is not None
        and normalised(Identity(IdentityType.EMAIL, text), plus_addressing) in wanted
        for text in emails
    ]
    column = pa.array(emails, pa.string())
    for matcher in (by_identity, by_hash):
        assert mask(matcher(*identities, plus_addressing=plus_addressing), email=column) == expected
