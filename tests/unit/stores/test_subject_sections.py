"""A section of subject hashes: never a false no, read in parts, and not trusted when odd."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.subject_sections import (
    MOST_FILES,
    Hashes,
    Member,
    Section,
    distinct,
    encode_section,
    read_section,
    tagged,
)

STAMP = b"0123456789abcdef"
FILES = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=300), min_size=1, max_size=9)


def _hashes(values: Sequence[int]) -> Hashes:
    return np.unique(np.array(values, np.uint64))


def _member(number: int) -> Member:
    return Member(number * 7919, STAMP)


def _encoded(files: Sequence[Sequence[int]]) -> bytes:
    filled = [number for number, values in enumerate(files) if len(values)]
    hashes = [tagged(_hashes(files[number]), place) for place, number in enumerate(filled)]
    without = [number for number in range(len(files)) if number not in set(filled)]
    return encode_section(distinct(hashes), [*map(_member, filled)], [*map(_member, without)])


def _opened(content: bytes, limit: int | None = None) -> Section | None:
    def read(begin: int, size: int) -> bytes:
        return content[begin : begin + size]

    return read_section(read, len(content) if limit is None else limit)


def _holders(content: bytes, hashes: Hashes | None) -> set[int] | None:
    """The places of the files that may hold one of the hashes."""
    section = _opened(content)
    if section is None:
        return None
    buckets = section.buckets(hashes)
    parts = [content[slice(*section.extent(one, one))] for one in buckets.tolist()]
    found = section.holders(hashes, buckets, b"".join(parts))
    return None if found is None else {one.path // 7919 for one in found}


def _random(count: int, seed: int = 7) -> list[int]:
    values: list[int] = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64).tolist()
    return values


@given(FILES)
def test_every_value_leads_to_its_file(files: list[list[int]]) -> None:
    content = _encoded(files)
    for number, values in enumerate(files):
        for value in values[:20]:
            assert number in (_holders(content, _hashes([value])) or ())


@given(FILES, st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_file_without_values_is_never_named(files: list[list[int]], others: list[int]) -> None:
    content = _encoded([*files, []])
    assert len(files) not in (_holders(content, _hashes(others)) or ())


@given(FILES)
def test_values_sought_together_lead_to_all_their_files(files: list[list[int]]) -> None:
    everything = _hashes([value for values in files for value in values])
    filled = {number for number, values in enumerate(files) if values}
    assert _holders(_encoded(files), everything) == filled


@pytest.mark.parametrize("files", [1, 16, 17, 200])
def test_files_are_hardly_ever_named_wrongly(files: int) -> None:
    content = _encoded(np.array_split(np.array(_random(60_000)), files))  # type: ignore[arg-type]
    named = (_holders(content, _hashes([one])) or () for one in _random(2_000, 8))
    # Among so many pairs of a file and a value one in 33,000 to 65,000 is expected.
    assert sum(map(len, named)) <= 5 + 2 * files * 2_000 / 33_000


@pytest.mark.parametrize("files", [1, 16, 17, 200])
def test_a_value_takes_about_two_bytes(files: int) -> None:
    content = _encoded(np.array_split(np.array(_random(100_000)), files))  # type: ignore[arg-type]
    assert 2.1 < (len(content) - 10 * files) / 100_000 < 2.5


def test_few_bytes_are_read_for_a_value() -> None:
    content = _encoded([_random(200_000)])
    section = _opened(content)
    assert section is not None
    (bucket,) = section.buckets(_hashes([2**63])).tolist()
    begin, end = section.extent(bucket, bucket)
    assert section.size + end - begin < len(content) / 40


def test_buckets_follow_one_another_to_the_end() -> None:
    content = _encoded([_random(5_000)])
    section = _opened(content)
    assert section is not None
    extents = [section.extent(one, one) for one in section.buckets(None).tolist()]
    assert [begin for begin, _ in extents] == [section.size, *(end for _, end in extents[:-1])]
    assert extents[-1][1] == section.length == len(content)


def test_repeated_values_take_no_room() -> None:
    values = _random(1_000)
    assert len(_encoded([values * 3])) == len(_encoded([values]))


def test_as_many_files_as_there_may_be_are_told_apart() -> None:
    content = _encoded([[value] for value in _random(MOST_FILES)])
    last = _random(MOST_FILES)[-1]
    assert MOST_FILES - 1 in (_holders(content, _hashes([last])) or ())


@given(st.data())
def test_damage_is_seen(data: st.DataObject) -> None:
    content = bytearray(_encoded([_random(400), [1, 2]]))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert _holders(bytes(content), None) is None


@given(st.integers(0, 1_000))
def test_what_was_cut_off_is_not_trusted(length: int) -> None:
    content = _encoded([_random(400), [1, 2]])
    assert _holders(content[: min(length, len(content) - 1)], None) is None


def test_a_bucket_of_another_section_is_not_trusted() -> None:
    values = _hashes(_random(9))
    own, other = (encode_section(values, [Member(path, STAMP)]) for path in (7919, 5))
    section = _opened(own)
    assert section is not None
    assert _holders(own, None) == set()
    assert _holders(own[: section.size] + other[section.size :], None) is None


def test_no_more_is_read_than_there_can_be() -> None:
    content = _encoded([_random(400)])
    assert _opened(content, limit=len(content)) is not None
    assert _opened(content, limit=50) is None
    assert _opened(content, limit=3) is None
