"""The local work area: alone in its folder, the output there whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from schemas.contacts import BatchSummary, Part
from schemas.errors import StoreError
from stores.enrichment.records import FinishedBatch
from stores.enrichment.work import WorkFolder

PART = Part(0, 0, 2)


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "out.ndjson")


def batch(number: int) -> FinishedBatch:
    return FinishedBatch(number, BatchSummary(1), b"d" * 32, b"{}\n")


def test_the_folder_is_its_owners_alone(work: WorkFolder) -> None:
    with work.locked():
        assert stat.S_IMODE(work.path.stat().st_mode) == 0o700


def test_a_batch_is_kept_before_its_part_is_finished(work: WorkFolder) -> None:
    work.results("p", PART).add(batch(1))  # killed here
    assert list(work.results("p", PART).finished) == [1]


@pytest.mark.parametrize("half", [1, 20, 60])
def test_half_a_record_costs_nothing_of_what_follows(work: WorkFolder, half: int) -> None:
    work.results("p", PART).add(batch(0))
    path = work.path / "p" / "some" / "000000"
    path.write_bytes(path.read_bytes()[:-half])
    work.results("p", PART).add(batch(1))
    whole = [0, 1] if half == 1 else [1]  # the next record begins with what is missing of this one
    assert list(work.results("p", PART).finished) == whole


def test_a_finished_part_that_was_spoiled_is_gone_on_with(work: WorkFolder) -> None:
    results = work.results("p", PART)
    results.add(batch(0))
    results.add(batch(1))
    path = work.path / "p" / "done" / "000000"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="--resume"):
        work.finished("p", PART)
    again = work.results("p", PART)
    again.add(batch(1))
    assert [each.number for each in work.finished("p", PART) or []] == [0, 1]


def test_an_output_that_fails_leaves_the_old_one(work: WorkFolder) -> None:
    def publish_half() -> None:
        with work.publishing() as sink:
            sink.write(b"half")
            raise StoreError("the disk is full")

    work.out.write_bytes(b"old")
    with work.locked(), pytest.raises(StoreError):
        publish_half()
    assert work.out.read_bytes() == b"old"
