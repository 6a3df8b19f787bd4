"""Keyed hashes and sealing of subjects."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityFormat, IdentityType, Particulars
from schemas.errors import UsageError
from stores.parameters import ParameterStore
from stores.subjects import SealBroken, Subjects

ANA = Identity(IdentityType.EMAIL, "ana.canary@example.com")
OLD, NEW = "o" * 32, "n" * 32


class Given(ParameterStore):
    """Parameters that are given."""

    def __init__(self, **values: str) -> None:
        super().__init__()
        self._values = {name.replace("_", "-"): value for name, value in values.items()}

    def _fetch(self, name: str) -> str:
        return self._values[name]


def subjects(keys: str = OLD, subject_key: str = "k" * 32, plus: bool = False) -> Subjects:
    return Subjects(Given(dsr_subject_key=subject_key, dsr_seal_keys=keys), plus)


def test_hash_says_nothing_and_needs_the_key() -> None:
    found = subjects().hash_of(ANA)
    assert len(found) == 64
    assert found != subjects(subject_key="x" * 32).hash_of(ANA)


def test_emails_that_are_alike_have_one_hash() -> None:
    shouted = replace(ANA, value=" ANA.Canary@EXAMPLE.com")
    assert subjects().hash_of(shouted) == subjects().hash_of(ANA)


def test_type_and_format_make_another_hash() -> None:
    others = [
        replace(ANA, type=IdentityType.CONTROLLER_CUSTOMER_ID),
        replace(ANA, format=IdentityFormat.SHA256),
    ]
    assert len(subjects().hashes_of([ANA, ANA, *others])) == 3


def test_what_was_sealed_opens_for_its_request_alone() -> None:
    sealed = subjects().seal("request-1", Particulars((ANA,)))
    assert subjects().open("request-1", sealed).identities == (ANA,)
    with pytest.raises(SealBroken):
        subjects().open("request-2", sealed)


def test_new_key_seals_and_the_old_one_still_opens() -> None:
    sealed = subjects(OLD).seal("r", Particulars((ANA,)))
    both = subjects(f"{NEW} {OLD}")
    assert both.open("r", sealed).identities == (ANA,)
    assert subjects(NEW).open("r", both.seal("r", Particulars((ANA,)))).identities == (ANA,)


def test_unknown_key_is_told_without_what_was_sealed() -> None:
    sealed = subjects(OLD).seal("r", Particulars((ANA,)))
    with pytest.raises(SealBroken, match="dsr-seal-keys") as raised:
        subjects(NEW).open("r", sealed)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("keys", ["short", "", f"{OLD} short"])
def test_seal_key_that_is_too_short_is_refused(keys: str) -> None:
    with pytest.raises(UsageError, match="at least 32 bytes") as raised:
        subjects(keys).seal("r", Particulars(()))
    assert OLD not in raised.value.message


def test_subject_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 32 bytes"):
        subjects(subject_key="short").hash_of(ANA)


def test_values_show_in_no_repr() -> None:
    url = "https://results.example/canary"
    assert "canary" not in repr(Particulars((ANA,), {"x": "canary"}, url))


@given(st.integers(0, 150), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(place: int, flip: int) -> None:
    sealed = bytearray(subjects().seal("r", Particulars((ANA,), {"a.example": {"b": 1}})))
    sealed[place % len(sealed)] ^= flip
    with pytest.raises(SealBroken):
        subjects().open("r", bytes(sealed))


@given(st.integers(0, 60))
def test_what_was_cut_off_does_not_open(length: int) -> None:
    with pytest.raises(SealBroken):
        subjects().open("r", subjects().seal("r", Particulars(()))[:length])


def test_particulars_come_back_whole() -> None:
    whole = Particulars((ANA,), {"opendsr.mparticle.com": {"skip": True}}, "https://r.example/1")
    assert subjects().open("r", subjects().seal("r", whole)) == whole
