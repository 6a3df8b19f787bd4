"""Repeated changes are dropped, as far back as the filter remembers."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.repeats import RepeatFilter, Sifted


def sift(filter: RepeatFilter, *ids: str | None) -> Sifted:
    return filter.drop(pa.array(ids, pa.string()))


def test_first_of_each_is_kept() -> None:
    sifted = sift(RepeatFilter(), "a", "b", "a", "c", "b")
    assert (sifted.keep.tolist(), sifted.repeats) == ([True, True, False, True, False], 2)


def test_repeat_of_an_earlier_block_is_dropped() -> None:
    filter = RepeatFilter()
    sift(filter, "a", "b")
    assert sift(filter, "c", "b").keep.tolist() == [True, False]


def test_change_without_an_identifier_is_kept_and_counted() -> None:
    filter = RepeatFilter()
    sift(filter, None)
    sifted = sift(filter, None, "a", None)
    assert (sifted.keep.all(), sifted.repeats, sifted.unidentified) == (True, 0, 2)


def test_empty_block_is_no_trouble() -> None:
    sifted = sift(RepeatFilter())
    assert (len(sifted.keep), sifted.repeats, sifted.unidentified) == (0, 0, 0)


def test_sliced_and_large_arrays_are_taken() -> None:
    array = pa.array(["x", "a", None, "a"], pa.large_string())[1:]
    assert RepeatFilter().drop(array).keep.tolist() == [True, True, False]


@pytest.mark.parametrize("blocks", [42, 50])
def test_half_the_capacity_is_remembered_for_certain(blocks: int) -> None:
    filter = RepeatFilter(capacity=200_000)
    for block in range(blocks):
        sift(filter, *(f"{block}-{number}" for number in range(5000)))
    recent = [f"{block}-{number}" for block in range(blocks - 20, blocks) for number in range(5000)]
    assert sift(filter, *recent).repeats == len(recent)


def test_no_more_is_remembered_than_the_capacity_and_a_block() -> None:
    filter = RepeatFilter(capacity=1000)
    for block in range(100):
        sift(filter, *(f"{block}-{number}" for number in range(100)))
        assert len(filter) <= 1100


@given(st.lists(st.lists(st.none() | st.sampled_from("abcdef"))))
def test_each_identifier_is_kept_once_over_all_blocks(blocks: list[list[str | None]]) -> None:
    filter, kept = RepeatFilter(), []
    for block in blocks:
        keep = sift(filter, *block).keep
        kept += [each for each, is_kept in zip(block, keep, strict=True) if is_kept]
    read = [each for block in blocks for each in block]
    assert sorted(filter_none(kept)) == sorted(set(filter_none(read)))
    assert kept.count(None) == read.count(None)


def filter_none(values: list[str | None]) -> list[str]:
    return [value for value in values if value is not None]
