"""Identities: what is taken, and what counts as alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.errors import Invalid
from schemas.identities import checked, checked_all, domain_of, masked, normalised

EMAIL = IdentityType.EMAIL
CUSTOMER = IdentityType.CONTROLLER_CUSTOMER_ID


def email(value: str) -> Identity:
    return Identity(EMAIL, value)


@pytest.mark.parametrize(
    "value",
    ["", "  ", "ana", "ana@", "@example.com", "a b@example.com", "ana@exa mple.com", "a@b@c",
     "ana@-example.com", "ana@example..com", "x" * 65 + "@example.com", "a@" + "d." * 130 + "com",
     "ana\x00@example.com", "ana@example.com\nBcc: x", "<ana@example.com>"],
)  # fmt: skip
def test_what_is_no_email_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(Invalid) as raised:
        checked(email(value))
    assert value.strip() == "" or value not in raised.value.message


@pytest.mark.parametrize(
    "value", ["ana@example.com", "a+b@x.example", "o'neil@example.com", "ana@bücher.example"]
)
def test_email_is_taken(value: str) -> None:
    assert checked(email(value)).value == value


@pytest.mark.parametrize(
    "other",
    [" ana@example.com ", "ANA@Example.COM", "Ana@example.com\u00a0"],
)
def test_case_and_white_space_make_no_difference(other: str) -> None:
    assert normalised(checked(email(other))) == "ana@example.com"


def test_composed_and_decomposed_letters_are_alike() -> None:
    assert normalised(email("zoe\u0308@example.com")) == normalised(email("zo\u00eb@example.com"))


def test_tags_make_a_difference_unless_asked_not_to() -> None:
    tagged = email("ana+news@example.com")
    assert normalised(tagged) == "ana+news@example.com"
    assert normalised(tagged, plus_addressing=True) == "ana@example.com"


def test_email_that_is_only_a_tag_keeps_it() -> None:
    assert normalised(email("+news@example.com"), plus_addressing=True) == "+news@example.com"


def test_customer_ids_that_differ_in_case_are_two() -> None:
    assert normalised(Identity(CUSTOMER, "aB1")) != normalised(Identity(CUSTOMER, "Ab1"))


@pytest.mark.parametrize(("form", "digits"), [("md5", 32), ("sha1", 40), ("sha256", 64)])
def test_hash_has_the_digits_of_its_kind(form: str, digits: int) -> None:
    checked(Identity(EMAIL, "aF" * (digits // 2), IdentityFormat(form)))
    for wrong in ("aF" * (digits // 2 - 1), "xy" * (digits // 2)):
        with pytest.raises(Invalid):
            checked(Identity(EMAIL, wrong, IdentityFormat(form)))


def test_two_of_one_type_are_refused_and_the_place_of_a_fault_is_named() -> None:
    with pytest.raises(Invalid, match="one of a type"):
        checked_all([email("ana@example.com"), email("bo@example.com")])
    with pytest.raises(Invalid, match=r"identities\.1\.value"):
        checked_all([email("ana@example.com"), Identity(CUSTOMER, " ")])


def test_masked_email_shows_its_first_letter_and_domain() -> None:
    assert masked(email("ana@example.com")) == "a***@example.com"
    assert masked(Identity(CUSTOMER, "12345")) == "1***"


def test_only_plain_emails_have_a_domain() -> None:
    assert domain_of(email("ana@Example.com")) == "example.com"
    assert domain_of(Identity(EMAIL, "a" * 32, IdentityFormat.MD5)) is None


@given(st.text(max_size=60), st.sampled_from(IdentityType), st.booleans())
def test_normalising_twice_changes_nothing(value: str, kind: IdentityType, plus: bool) -> None:
    once = normalised(Identity(kind, value), plus)
    assert normalised(Identity(kind, once), plus) == once
