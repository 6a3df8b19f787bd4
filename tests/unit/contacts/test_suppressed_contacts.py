"""Contacts of suppressed subjects come out in their place, and without anything of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.contacts import Reason, Row
from schemas.dsr import Identity, IdentityType
from schemas.identities import normalised
from transforms.contacts.check import faulty_row
from transforms.contacts.suppress import ContactSieve
from transforms.scrub import Scrubber
from transforms.subject_hashes import SubjectHasher
from transforms.suppress import SubjectSieve

HASHER = SubjectHasher(b"k" * 32)
ERASED = (
    HASHER.suppressed(Identity(IdentityType.EMAIL, "ana@acme.example")),
    HASHER.suppressed(Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "4711")),
)
SIEVE = ContactSieve(SubjectSieve(HASHER, ERASED))

FORMS = st.sampled_from([
    "ana+news@acme.example", "ANA@acme.example", "Stra\u00dfe@acme.example", " 77\u00a0",
    "Zo\u0065\u0301",
    "Zo\u00e9", "\u212aK-77", "KK-77", "kk-77", "AB12\u017f", "ab12S", "5", "-5", "\u3000Zo\u00e9",
    "two words", "a\"b", "a\\b", "\n77", "x" * 300,
])  # fmt: skip


def _row(line: int, contact: Mapping[str, Any]) -> Row:
    return Row(line, "c", msgspec.Raw(msgspec.json.encode(contact)), digest=b"d" * 16)


def _is_out(contact: Mapping[str, Any]) -> bool:
    (row,) = SIEVE.sift(iter([_row(1, contact)]))
    return row.reason is Reason.SUPPRESSED


@pytest.mark.parametrize(
    "contact",
    [
        {"id": "1", "email": "Ana@Acme.example "},
        {"id": "1", "more": {"addresses": [{"mail": "ana@acme.example"}]}},
        {"id": "4711"},
        {"id": "1", "userId": 4711},
    ],
)
def test_a_contact_with_a_suppressed_identity_is_out(contact: Mapping[str, Any]) -> None:
    assert _is_out(contact)


@pytest.mark.parametrize(
    "contact",
    [
        {"id": "1", "email": "joana@acme.example"},
        {"id": "1", "age": 4711},
        {"id": "1", "remark": "x" * 5000, "nothing": None, "yes": True},
    ],
)
def test_a_contact_of_another_stays(contact: Mapping[str, Any]) -> None:
    assert not _is_out(contact)


@given(st.lists(st.booleans(), max_size=20))
def test_each_row_stays_in_its_place(are_erased: list[bool]) -> None:
    emails = ["ana@acme.example" if erased else "b@acme.example" for erased in are_erased]
    rows = [_row(line, {"id": "c", "email": email}) for line, email in enumerate(emails)]
    sifted = list(SIEVE.sift(iter(rows)))
    assert [row.line for row in sifted] == [*range(len(rows))]
    assert [row.reason is Reason.SUPPRESSED for row in sifted] == are_erased


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
HERS = st.sampled_from(["ANA@acme.example", " ana@acme.example", "ana@acme.example"])


@given(VALUES, HERS, VALUES)
def test_an_identity_is_found_between_any_values(before: Any, hers: str, behind: Any) -> None:
    assert _is_out({"id": "1", "more": [before, {"mail": hers}, behind]})


@given(st.lists(VALUES, max_size=5))
def test_contacts_without_an_identity_stay(values: list[Any]) -> None:
    rows = [_row(line, {"id": "1", "more": value}) for line, value in enumerate(values)]
    assume(not any(b"4711" in bytes(row.contact or b"") for row in rows))
    assert list(SIEVE.sift(iter(rows))) == rows


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "x\\"y", "email": "ana@acme.example"}',
        b'{"a": "ana\\u0040acme.example"}',
        b'{ "userId" : 4711 , "b" : [ 1 , 2 ] }',
        b'{"userId":[1,4711]}',
        b'{"userId":[[1],{"customerId":4711}]}',
    ],
)
def test_an_identity_is_found_however_it_is_written(content: bytes) -> None:
    (row,) = SIEVE.sift(iter([Row(1, "c", msgspec.Raw(content))]))
    assert row.reason is Reason.SUPPRESSED


@given(st.sampled_from(IdentityType), FORMS, st.booleans(), st.lists(st.one_of(FORMS, st.text())))
def test_a_contact_is_out_if_and_only_if_a_value_is_alike(
    kind: IdentityType, hers: str, plus: bool, values: list[str]
) -> None:
    assume(kind is not IdentityType.EMAIL or "@" in hers)
    hasher = SubjectHasher(b"k" * 32, plus)
    identity = Identity(kind, hers)
    sieve = ContactSieve(SubjectSieve(hasher, (hasher.suppressed(identity),)))
    (row,) = sieve.sift(iter([_row(1, {f"{n}Id": value for n, value in enumerate(values)})]))
    alike = normalised(identity, plus)
    is_alike = any(normalised(Identity(kind, value), plus) == alike for value in values)
    assert (row.reason is Reason.SUPPRESSED) == is_alike


@pytest.mark.parametrize("number", [0, 5, 42, -7, 2**63])
def test_a_number_is_found_wherever_it_stands(number: int) -> None:
    hers = HASHER.suppressed(Identity(IdentityType.CONTROLLER_CUSTOMER_ID, str(number)))
    sieve = ContactSieve(SubjectSieve(HASHER, (hers,)))
    contacts = [{"aId": number, "b": 1}, {"b": 1, "aId": number}, {"aId": [9, number]}]
    rows = [_row(line, contact) for line, contact in enumerate([*contacts, {"aId": [90, 91]}])]
    assert [row.reason is Reason.SUPPRESSED for row in sieve.sift(iter(rows))] == [
        *map(bool, contacts), False,
    ]  # fmt: skip


def test_what_a_field_scrubbed_by_hash_holds_is_found() -> None:
    stored = Scrubber(b"k" * 32).hash("ana@acme.example")
    assert _is_out({"id": "1", "email": stored})
    assert not _is_out({"id": "1", "email": stored[:-1] + "x"})


def test_lists_without_tails_are_heeded() -> None:
    older = tuple(replace(one, tails=(), ends=()) for one in ERASED)
    sieve = ContactSieve(SubjectSieve(HASHER, older))
    rows = [_row(1, {"id": "4711"}), _row(2, {"email": "ana@acme.example"}), _row(3, {"id": "1"})]
    assert [row.reason for row in sieve.sift(iter(rows))] == [Reason.SUPPRESSED] * 2 + [None]


@pytest.mark.parametrize("count", [49, 50, 2501, 6000])
def test_rows_are_found_among_any_number(count: int) -> None:
    rows = [_row(line, {"id": "1", "email": f"p{line}@b.example"}) for line in range(count)]
    rows[-1] = _row(count - 1, {"id": "4711"})
    sifted = list(SIEVE.sift(iter(rows)))
    assert sifted[:-1] == rows[:-1]
    assert sifted[-1].reason is Reason.SUPPRESSED


def test_what_comes_out_holds_nothing_of_the_subject() -> None:
    (row,) = SIEVE.sift(iter([_row(7, {"id": "4711", "email": "ana@acme.example"})]))
    assert row == faulty_row(7, Reason.SUPPRESSED)


def test_a_faulty_row_of_a_subject_is_out_too() -> None:
    faulty = Row(1, None, msgspec.Raw(b'{"email":"ana@acme.example"}'), Reason.MISSING_ID)
    assert next(SIEVE.sift(iter([faulty]))).reason is Reason.SUPPRESSED


def test_rows_that_could_not_be_read_stay() -> None:
    broken = Row(1, None, None, Reason.INVALID_JSON)
    assert list(SIEVE.sift(iter([broken]))) == [broken]


def test_nothing_is_looked_at_if_nobody_is_suppressed() -> None:
    row = Row(1, "c", msgspec.Raw(b"no JSON"))
    assert list(ContactSieve(SubjectSieve(HASHER)).sift(iter([row]))) == [row]
