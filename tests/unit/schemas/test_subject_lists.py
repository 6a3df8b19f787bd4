"""Subjects on command lines and in files: read as they are meant, and never repeated in errors."""

from __future__ import annotations

import pytest

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.errors import UsageError
from schemas.subject_lists import parse_subject, parse_subjects

EMAIL = Identity(IdentityType.EMAIL, "ana@example.com")
CUSTOMER = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "u-1")


def test_identities_of_one_subject_stand_behind_commas() -> None:
    text = "email= ana@example.com,controller_customer_id=u-1"
    assert parse_subject(text, "--subject") == (EMAIL, CUSTOMER)


def test_digest_names_its_kind() -> None:
    (found,) = parse_subject(f"email:sha256={'a' * 64}", "--subject")
    assert found == Identity(IdentityType.EMAIL, "a" * 64, IdentityFormat.SHA256)


def test_object_may_hold_what_separates_elsewhere() -> None:
    (found,) = parse_subject('{"controller_customer_id": "one, two=3"}', "--subject")
    assert found.value == "one, two=3"


def test_file_has_a_subject_a_line() -> None:
    lines = ["email=ana@example.com\n", "\n", '{"controller_customer_id": "u-1"}\n']
    assert list(parse_subjects(lines, "list.txt")) == [(EMAIL,), (CUSTOMER,)]


def test_mark_of_byte_order_is_passed_over() -> None:
    assert list(parse_subjects(["\ufeffemail=ana@example.com\r\n"], "list.txt")) == [(EMAIL,)]


@pytest.mark.parametrize(
    "line",
    [
        "secret@example.com",
        "mail=secret@example.com",
        "email=secret",
        "email=",
        "email:sha2=secret@example.com",
        "email:sha256=secret",
        "email=secret@example.com,email=secret@example.org",
        '{"email": 7, "x": "secret"}',
        '{"email": "secret@example.com", "email": "secret@example.org"}',
        '{"email": "secret',
        "{}",
    ],
)
def test_error_names_the_line_and_never_the_value(line: str) -> None:
    with pytest.raises(UsageError) as raised:
        list(parse_subjects(["email=ana@example.com", line], "list.txt"))
    assert raised.value.message.startswith("list.txt: line 2: ")
    assert "secret" not in raised.value.message
