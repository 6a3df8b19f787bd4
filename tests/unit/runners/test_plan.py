"""Plans: what is read of an input, given what was delivered of it before."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from runners.plan import Plan, plan_delivery
from schemas.errors import InputError
from schemas.inputs import CoveredRange, SourcePosition
from stores.inputs import InputOpener

LINE = b'{"dynamodb": {}}\n'
MIB = 1024 * 1024


def plan_of(file: Path, position: SourcePosition | None = None, workers: int = 1) -> Plan:
    known = {} if position is None else {position.uri: position}
    return plan_delivery([str(file)], InputOpener(), known, workers)


def position_of(file: Path, content: bytes, resume: int | None = None) -> SourcePosition:
    """How a delivery of ``content`` would be remembered."""
    planned = plan_of(file).files[str(file)]
    reached = CoveredRange(0, len(content), xxhash.xxh3_128_hexdigest(content))
    end = len(content) if resume is None else resume
    return SourcePosition(str(file), planned.size, planned.etag, end, (reached,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.ndjson"
    path.write_bytes(LINE * 3)
    return path


def test_a_new_file_is_read_from_its_beginning(file: Path) -> None:
    (split,) = plan_of(file).splits
    assert (split.start, split.end, split.exact) == (0, None, True)


def test_a_delivered_file_is_skipped(file: Path) -> None:
    plan = plan_of(file, position_of(file, LINE * 3))
    assert (plan.splits, plan.skipped, plan.size) == ((), 1, 0)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_grown_file_is_read_from_where_it_ended(
    file: Path, compress: Callable[[bytes], bytes]
) -> None:
    file.write_bytes(compress(LINE * 3))
    position = position_of(file, LINE * 3)
    file.write_bytes(compress(LINE * 3) + compress(LINE))
    assert [split.start for split in plan_of(file, position).splits] == [len(LINE) * 3]


def test_a_file_that_is_the_same_under_another_tag_is_skipped(file: Path) -> None:
    position = replace(position_of(file, LINE * 3), etag="of a copy")
    assert plan_of(file, position).skipped == 1


@pytest.mark.parametrize("content", [b"", LINE, b"x" + LINE * 4, LINE * 2 + b"x" * len(LINE)])
def test_a_file_that_does_not_begin_as_it_did_is_an_error(file: Path, content: bytes) -> None:
    position = position_of(file, LINE * 3)
    file.write_bytes(content)
    with pytest.raises(InputError, match="changed before byte"):
        plan_of(file, position)


@pytest.mark.parametrize(
    ("end", "read_again"),
    [
        (b'{"a": 1}', False),
        (b'{"a": "}"}', False),
        (b'  {"a": {}}  ', False),
        (b'{"a": 1', True),
        (b'{"a": "}', True),
        (b'{"a": {}', True),
        (b"nonsense", True),
    ],
)
def test_an_unfinished_last_line_is_read_again_and_a_whole_one_is_not(
    file: Path, end: bytes, read_again: bool
) -> None:
    file.write_bytes(LINE + end)
    position = position_of(file, LINE + end, resume=len(LINE))
    file.write_bytes(LINE + end + b"\n" + LINE)
    (split,) = plan_of(file, position).splits
    assert split.start == (len(LINE) if read_again else len(LINE + end))


@given(size=st.integers(1, 40 * MIB), workers=st.integers(1, 8))
def test_splits_cover_a_file_without_gap_or_overlap(
    tmp_path_factory: pytest.TempPathFactory, size: int, workers: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "large.ndjson"
    with path.open("wb") as sparse:
        sparse.write(LINE)
        sparse.truncate(max(size, len(LINE)))
    splits = plan_of(path, workers=workers).splits
    assert [split.end for split in splits[:-1]] == [split.start for split in splits[1:]]
    assert (splits[0].start, splits[-1].end) == (0, None)
    assert [split.exact for split in splits] == [True, *[False] * (len(splits) - 1)]
