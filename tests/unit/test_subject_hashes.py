"""Hashes of subjects: alike for what is alike, apart for what is not, and of whole columns."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.errors import Invalid
from schemas.identities import normalised
from transforms.scrub import Scrubber
from transforms.subject_hashes import SubjectHasher

KEY = b"k" * 32
HASHER = SubjectHasher(KEY)
EMAIL, USER = IdentityType.EMAIL, IdentityType.CONTROLLER_CUSTOMER_ID
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("aAbB@.+ ", max_size=40)


def _near_of(value: str, kind: IdentityType = EMAIL, hasher: SubjectHasher = HASHER) -> int:
    return int(hasher.near_column(pa.array([value]), kind)[0])


@given(st.lists(TEXTS, max_size=20), st.sampled_from([EMAIL, USER]), st.booleans())
def test_a_value_has_one_near_hash_wherever_it_stands(
    values: list[str], kind: IdentityType, plus: bool
) -> None:
    hasher = SubjectHasher(KEY, plus)
    column = hasher.near_column(pa.array(values, pa.string()), kind)
    alone = [_near_of(normalised(Identity(kind, v), plus), kind, hasher) for v in values]
    assert column.tolist() == alone


@given(TEXTS, TEXTS)
def test_different_values_have_different_near_hashes(one: str, other: str) -> None:
    alike = normalised(Identity(USER, one)) == normalised(Identity(USER, other))
    assert (_near_of(one, USER) == _near_of(other, USER)) == alike


def test_near_hashes_of_a_million_values_spread_over_their_high_bits() -> None:
    values = pa.array([f"user{n}@example.com" for n in range(200_000)])
    places = np.bincount(HASHER.near_column(values, EMAIL) >> np.uint64(52), minlength=4096)
    # 49 are expected in each; their variance is that of a Poisson distribution.
    assert 0.8 < places.var() / places.mean() < 1.2


def test_near_hashes_differ_by_type_and_by_key() -> None:
    other = SubjectHasher(b"o" * 32)
    assert len({_near_of("a1", EMAIL), _near_of("a1", USER), _near_of("a1", EMAIL, other)}) == 3


@pytest.mark.parametrize(
    "text", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_near_hashes_do_not_depend_on_how_text_is_held(text: pa.DataType) -> None:
    values = pa.array(["A@b.c", None, "d@e.f", "A@b.c"])
    expected = HASHER.near_column(values, EMAIL).tolist()
    assert HASHER.near_column(values.cast(text), EMAIL).tolist() == expected
    assert len(expected) == 3


def test_a_slice_has_the_near_hashes_of_its_own_values() -> None:
    values = pa.array([f"user{n}@example.com" for n in range(20_000)])
    column = HASHER.near_column(values, EMAIL)
    assert HASHER.near_column(values[9_000:], EMAIL).tolist() == column[9_000:].tolist()


@given(TEXTS)
def test_an_identity_is_near_its_value_and_its_stored_form(value: str) -> None:
    stored = Scrubber(KEY).hash(value)
    assert {_near_of(value), _near_of(stored)} <= set(HASHER.near(Identity(EMAIL, value)))


def test_plus_addressing_makes_no_difference_to_what_is_stored_as_a_hash() -> None:
    stored, hasher = Scrubber(KEY).hash("a+tag@b.c"), SubjectHasher(KEY, plus_addressing=True)
    assert _near_of(stored) == _near_of(stored, hasher=hasher)
    assert _near_of(stored) in hasher.near(Identity(EMAIL, "a+tag@b.c"))


def test_both_forms_of_an_address_with_a_tag_are_hashed() -> None:
    forms = HASHER.near_forms(pa.array(["a@b.c", None, "d+x@e.f", "+g@h.i", "j+k"]), EMAIL)
    assert forms.near.tolist() == [*map(_near_of, ["a@b.c", "d+x@e.f", "+g@h.i", "j+k"])]
    assert forms.tagged.tolist() == [1, 2, 3]
    assert forms.untagged.tolist() == [*map(_near_of, ["d@e.f", "+g@h.i", "j+k"])]


def test_a_plus_sign_makes_no_difference_but_in_emails() -> None:
    assert HASHER.near_forms(pa.array(["a+b@c"]), USER).tagged.tolist() == []


def test_an_identity_given_as_a_digest_has_no_near_hash_and_is_not_suppressed() -> None:
    digest = Identity(EMAIL, "a" * 64, IdentityFormat.SHA256)
    assert HASHER.near(digest) == ()
    with pytest.raises(Invalid, match="sha256"):
        HASHER.suppressed(digest)


@given(TEXTS, st.booleans())
def test_exact_hashes_of_values_are_those_of_identities(value: str, plus: bool) -> None:
    hasher = SubjectHasher(KEY, plus)
    assert hasher.exact_values([value, None], EMAIL) == [hasher.exact(Identity(EMAIL, value)), ""]


@given(st.lists(TEXTS, max_size=5), st.sampled_from([EMAIL, USER]), st.booleans())
def test_exact_hashes_of_many_are_those_of_each(
    values: list[str], kind: IdentityType, plus: bool
) -> None:
    hasher = SubjectHasher(KEY, plus)
    alone = [hasher.exact(Identity(kind, value)) for value in values]
    assert list(hasher.exact_each(values, kind)) == alone


def test_exact_hashes_differ_by_type_and_format() -> None:
    digest = "a" * 64
    identities = [Identity(EMAIL, digest), Identity(USER, digest)]
    identities += [Identity(EMAIL, digest, IdentityFormat.SHA256)]
    assert len({HASHER.exact(one) for one in identities}) == 3


def test_a_suppressed_identity_holds_no_value() -> None:
    found = HASHER.suppressed(Identity(EMAIL, "Secret@Example.com"))
    assert "secret" not in repr(found).lower()
    assert found.exact == HASHER.exact(Identity(EMAIL, "secret@example.com"))
    assert found.stored == Scrubber(KEY).hash("secret@example.com")


def test_a_suppressed_address_is_stored_with_its_tag_and_without_if_tags_make_no_difference() -> (
    None
):
    tagged, plain = Identity(EMAIL, "Ana+x@acme.example"), Identity(EMAIL, "Ana@acme.example")
    with_tag, without = (Scrubber(KEY).hash(one.value) for one in (tagged, plain))
    hasher = SubjectHasher(KEY, plus_addressing=True)
    assert hasher.suppressed(tagged).stored_forms == (with_tag, without)
    assert hasher.suppressed(plain).stored_forms == (without,)
    assert HASHER.suppressed(tagged).stored_forms == (with_tag,)


def test_the_key_is_not_shown_and_the_hasher_travels() -> None:
    assert "kkk" not in repr(HASHER)
    assert _near_of("a@b.c", EMAIL, pickle.loads(pickle.dumps(HASHER))) == _near_of("a@b.c")


def test_half_of_a_surrogate_pair_has_an_exact_hash() -> None:
    """Dead letters hold such text, and are looked through for subjects."""
    identity = Identity(IdentityType.EMAIL, "a\ud83c@acme.example")
    assert len(SubjectHasher(b"0123456789abcdef").exact(identity)) == 64
