"""Columns of identities are normalised as single ones are."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityType
from schemas.identities import normalised
from transforms.normalise import normalised_column

KINDS = st.sampled_from(
    [IdentityType.EMAIL, IdentityType.CONTROLLER_CUSTOMER_ID, IdentityType.ANDROID_ID]
)
_LETTERS = st.sampled_from(
    [*"aAzZ09 +@.-\t\n\x1c\x85", "\u0130", "\u1e9e", "ß", "\u0301", "\u00c5", "\u3000"]
)
VALUES = st.lists(
    st.none() | st.text(st.characters(exclude_categories=["Cs"])) | st.text(_LETTERS, max_size=12),
    max_size=20,
)


def _one_by_one(values: list[str | None], kind: IdentityType, plus: bool) -> list[str | None]:
    return [None if v is None else normalised(Identity(kind, v), plus) for v in values]


@given(VALUES, KINDS, st.booleans())
def test_a_column_is_normalised_as_each_of_its_values(
    values: list[str | None], kind: IdentityType, plus: bool
) -> None:
    column = normalised_column(pa.array(values, pa.string()), kind, plus)
    assert column.to_pylist() == _one_by_one(values, kind, plus)


@pytest.mark.parametrize(
    "text", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_any_type_of_text_is_normalised(text: pa.DataType) -> None:
    values = pa.array([" A@B.c ", None, "\u00c4@b.C"]).cast(text)
    column = normalised_column(values, IdentityType.EMAIL)
    assert column.to_pylist() == ["a@b.c", None, "\u00e4@b.c"]


def test_a_slice_is_normalised_alone() -> None:
    column = normalised_column(pa.array(["A", "Ä", "B", "C"])[2:], IdentityType.EMAIL)
    assert column.to_pylist() == ["b", "c"]


def test_tags_stay_unless_plus_addressing_is_asked_for() -> None:
    values = pa.array(["me+shop@b.c"])
    assert normalised_column(values, IdentityType.EMAIL).to_pylist() == ["me+shop@b.c"]
    assert normalised_column(values, IdentityType.EMAIL, True).to_pylist() == ["me@b.c"]
