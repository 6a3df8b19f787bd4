"""No personal data and no secret gets past redaction; what a log is read for does."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runners.redaction import CARD, EMAIL, PHONE, SECRET, SSN, redacted, redacted_text
from stores.log import new_run_id

DIGITS = "0123456789"

around = st.text(st.characters(exclude_categories=["Nd"]), max_size=40)
"""Any text but digits, of which it could make what is looked for."""


def digits(count: int, first: str = DIGITS) -> st.SearchStrategy[str]:
    rest = st.text(DIGITS, min_size=count - 1, max_size=count - 1)
    return st.builds("".join, st.tuples(st.sampled_from(first), rest))


def with_check_digit(number: str) -> str:
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(number))]
    return number + str(-sum(d - 9 * (d > 9) for d in doubled) % 10)


def grouped(number: str, separator: str) -> str:
    return separator.join(number[i : i + 4] for i in range(0, len(number), 4))


cards = st.builds(
    grouped,
    st.one_of(digits(15, "456"), digits(14, "3")).map(with_check_digit),
    st.sampled_from(["", " ", "-"]),
)
phones = st.one_of(
    digits(9, "123456789").map("+4{}".format),
    st.builds("({}) {}-{}".format, digits(3, "2345"), digits(3), digits(4)),
    st.builds("{}-{}-{}".format, digits(3, "2345"), digits(3), digits(4)),
    st.builds("{}.{}.{}".format, digits(3, "2345"), digits(3), digits(4)),
    st.builds("+49 ({}) {} {}".format, digits(3), digits(3), digits(4)),
    st.builds("0{} {}".format, digits(3, "123456789"), digits(7)),
    st.builds("phone: {}".format, digits(10, "123456789")),
)
numbers_of_people = st.builds(
    "{}{separator}{}{separator}{}".format,
    digits(3, "12345"),
    digits(2, "123456789"),
    digits(4, "123456789"),
    separator=st.sampled_from(["-", " "]),
).filter(lambda number: not number.startswith("000"))
tokens = st.text("abcdefghijkmnopqrstuvwxyzABCDEFG0123456789-_", min_size=20, max_size=60).map(
    "1{}".format
)


@given(around, st.emails(), around)
def test_no_address_is_left_in_any_text(before: str, email: str, after: str) -> None:
    assert email not in redacted_text(f"{before} {email} {after}")


def test_address_of_a_domain_with_many_parts_is_not_left() -> None:
    email = f"0@{'A.' * 20}COM"
    assert email not in redacted_text(f" {email} ")


@given(around, cards, around)
def test_no_card_number_is_left_in_any_text(before: str, card: str, after: str) -> None:
    assert card not in redacted_text(f"{before}, {card}, {after}")


@given(around, phones, around)
def test_no_phone_number_is_left_in_any_text(before: str, phone: str, after: str) -> None:
    assert phone not in redacted_text(f"{before}, {phone}, {after}")


@given(around, numbers_of_people, around)
def test_no_social_security_number_is_left_in_any_text(
    before: str, number: str, after: str
) -> None:
    assert number not in redacted_text(f"{before}, {number}, {after}")


@given(
    around,
    st.sampled_from(["Bearer {}", "lk_{}", "api_key={}", '"password": "{}"', "X-Api-Key: {}"]),
    tokens,
)
def test_no_secret_is_left_in_any_text(before: str, form: str, token: str) -> None:
    assert token not in redacted_text(f"{before} {form.format(token)} ")


@given(st.uuids())
@example(uuid.UUID("61b4eb41-5936-8845-6933-ac763c7bef15"))
@example(uuid.UUID("4111111a-4111-4111-8111-111111111111"))
def test_ids_survive(value: uuid.UUID) -> None:
    assert redacted_text(f"job {value} ended") == f"job {value} ended"


@pytest.mark.parametrize(
    "text",
    [
        "eb4111-1111-1111-1111-ac",
        "b41-5936-8845-6933-ac",
        "61b4eb41-5936-8845-6933-ac763c7bef15-4111-1111-1111-1111",
        "61b4eb41-5936-8845-6933-ac763c7bef15 4111111111111111",
    ],
)
def test_a_card_number_beside_hexadecimal_letters_is_not_left(text: str) -> None:
    assert CARD in redacted_text(text)


@given(st.uuids(), cards)
def test_a_card_number_beside_an_id_is_not_left(value: uuid.UUID, card: str) -> None:
    assert redacted_text(f"{value}, {card}") == f"{value}, {CARD}"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_timestamps_survive(time: datetime) -> None:
    forms = [time.isoformat(), f"{time:%Y-%m-%d %H:%M:%S}", f"[{time:%d/%b/%Y:%H:%M:%S} +0000]"]
    assert [redacted_text(form) for form in forms] == forms


@given(digits(56, "4"))
def test_sequence_numbers_of_streams_survive(number: str) -> None:
    assert redacted_text(f"at {number}") == f"at {number}"


@given(st.integers(0, 10**20).map("{:020d}.json".format))
def test_names_of_log_files_survive(name: str) -> None:
    assert redacted_text(f"_lethe/log/{name}") == f"_lethe/log/{name}"


@given(st.binary(min_size=32, max_size=32).map(bytes.hex))
def test_digests_survive(digest: str) -> None:
    assert redacted_text(f"sha256 {digest}") == f"sha256 {digest}"


def test_run_ids_survive() -> None:
    run = new_run_id(datetime.now(UTC))
    assert redacted({"run": run}) == {"run": run}


@given(
    st.builds(
        lambda seconds, factor: seconds * factor,
        st.integers(1_000_000_000, 1_999_999_999),
        st.sampled_from([1, 10**3, 10**6, 10**9]),
    )
)
def test_times_since_the_epoch_survive(time: int) -> None:
    assert redacted({"at": time}) == {"at": time}


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:8080",
        "http://127.0.0.1:8080/v1/runs",
        "Listening at: http://0.0.0.0:8080 (12345)",
        "bytes 0-4194303/10000000",
        "s3://lake/type=demand/date=2026-01-02/part-0007-000123.parquet",
        "token 7 of the lease",
        "192.168.100.200",
    ],
)
def test_what_a_log_is_read_for_survives(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("email", EMAIL),
        ("contactEmail", EMAIL),
        ("phone_number", PHONE),
        ("ssn", SSN),
        ("card", CARD),
        ("api_key", SECRET),
        ("Authorization", SECRET),
    ],
)
def test_a_field_is_known_by_its_name(name: str, mark: str) -> None:
    assert redacted({name: "4155550123"}) == {name: mark}


def test_a_lease_s_token_is_no_secret() -> None:
    assert redacted({"token": 7}) == {"token": 7}


def test_a_card_number_is_found_among_numbers() -> None:
    assert redacted({"n": 4111111111111111}) == {"n": CARD}


def test_a_card_number_is_found_behind_a_date() -> None:
    assert redacted_text("2026 11 21 4111 1111 1111 1111") == f"2026 11 21 {CARD}"


@pytest.mark.parametrize(
    "hidden",
    [
        {"a": [{"b": ("ana@example.com",)}]},
        {"ana@example.com": 1},
        {"raw": b"ana@example.com"},
        {"error": ValueError("ana@example.com")},
        {"set": {"ana@example.com"}},
        {"url": "/x?mail=ana%40example.com"},
        {"json": '{"mail": "ana\\u0040example.com"}'},
    ],
)
def test_nothing_hides_in_what_is_nested(hidden: Any) -> None:
    shown = str(redacted(hidden))
    assert EMAIL in shown
    assert "example.com" not in shown


def test_the_password_of_a_database_is_taken_out() -> None:
    shown = redacted_text("postgresql+psycopg://lethe:hunter2@db/lethe")
    assert shown == f"postgresql+psycopg://{SECRET}@db/lethe"


def test_what_is_too_deep_is_not_shown() -> None:
    deep: Any = "ana@example.com"
    for _ in range(1000):
        deep = [deep]
    assert "ana" not in str(redacted(deep))
