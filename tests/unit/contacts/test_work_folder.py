"""The work folder: what is finished stays so, what is spoiled is seen."""

from __future__ import annotations

import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contacts import BatchSummary, EnrichmentReport, InputIdentity, Part, Receipt, Row
from schemas.errors import InputError, StoreError, UsageError
from stores.enrichment.work import WorkFolder
from transforms.contacts.prepare import batches_of, canonical, prepare

IDENTITY = InputIdentity("/c.ndjson", 10, "1-2-3")
RECEIPT = Receipt(IDENTITY, {}, EnrichmentReport(1, 1, 0, {}, 1, 0, 1, 0, 0.5, "00"))


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "out.ndjson")


def rows(count: int) -> list[Row]:
    return [Row(line, str(line), {"id": line}) for line in range(1, count + 1)]


def batch_path(work: WorkFolder) -> Path:
    return next(path for path in (work.path / "batches").rglob("*") if path.is_file())


def test_a_finished_batch_is_found_again(work: WorkFolder) -> None:
    work.write_batch(3, BatchSummary(1), b"{}\n")
    assert work.summary(3) == BatchSummary(1)
    assert work.lines(3) == b"{}\n"
    assert work.summary(4) is None


@pytest.mark.parametrize("spoiled", [b"", b"\0" * 40, None])
def test_a_spoiled_batch_counts_as_unfinished(work: WorkFolder, spoiled: bytes | None) -> None:
    work.write_batch(0, BatchSummary(1), b"{}\n")
    path = batch_path(work)
    path.write_bytes(path.read_bytes()[:-1] if spoiled is None else spoiled)
    assert work.summary(0) is None
    with pytest.raises(StoreError):
        work.lines(0)


@pytest.mark.parametrize("count", [0, 1, 10, 11])
def test_parts_hold_all_rows_in_batches(work: WorkFolder, count: int) -> None:
    plan = prepare(IDENTITY, rows(count), {}, 5, work)
    found = [batch for part in plan.parts for batch in batches_of(work.read_part(part), part, 5)]
    assert [number for number, _ in found] == [*range(plan.batches)]
    assert [row for _, batch in found for row in batch] == rows(count)
    assert work.plan() == plan


def test_memory_does_not_grow_with_the_rows(work: WorkFolder) -> None:
    long = (Row(line, str(line), {"id": line, "a": str(line) * 200}) for line in range(20_000))
    tracemalloc.start()
    prepare(IDENTITY, long, {}, 100, work)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_several_parts_number_their_batches_on_and_on(work: WorkFolder) -> None:
    plan = prepare(IDENTITY, rows(10_001), {}, 2_500, work)
    assert plan.parts == (Part(0, 0, 2), Part(1, 2, 2), Part(2, 4, 1))


def test_a_plan_is_there_only_when_all_rows_are(work: WorkFolder) -> None:
    def cut_off() -> Iterator[Row]:
        yield from rows(9_000)
        raise InputError("the file is cut off")

    with pytest.raises(InputError):
        prepare(IDENTITY, cut_off(), {}, 5, work)
    assert work.plan() is None


def test_a_run_whose_receipt_is_written_is_not_unfinished(work: WorkFolder) -> None:
    work.write_receipt(RECEIPT)
    prepare(IDENTITY, rows(3), {}, 5, work)
    assert work.plan() is None


def test_a_receipt_leaves_nothing_else(work: WorkFolder) -> None:
    prepare(IDENTITY, rows(3), {}, 5, work)
    work.write_batch(0, BatchSummary(1), b"{}\n")
    work.write_receipt(RECEIPT)
    assert (work.receipt(), work.plan()) == (RECEIPT, None)
    assert [path.name for path in work.path.iterdir()] == ["receipt.json"]


def test_the_folder_is_its_owners_alone(work: WorkFolder) -> None:
    with work.locked():
        assert stat.S_IMODE(work.path.stat().st_mode) == 0o700


def test_one_run_at_a_time(work: WorkFolder) -> None:
    other = WorkFolder(work.out)
    with work.locked(), pytest.raises(UsageError, match="another run"), other.locked():
        pass
    with other.locked():
        assert work.path.is_dir()


def test_an_output_that_fails_leaves_the_old_one(work: WorkFolder) -> None:
    def publish_half() -> None:
        with work.publishing() as sink:
            sink.write(b"half")
            raise StoreError("the disk is full")

    work.out.write_bytes(b"old")
    with work.locked(), pytest.raises(StoreError):
        publish_half()
    assert work.out.read_bytes() == b"old"


@given(st.permutations([("a", 1), ("b", "x"), ("c", None)]))
def test_the_digest_does_not_depend_on_the_order_of_fields(
    fields: list[tuple[str, object]],
) -> None:
    assert canonical(Row(1, "1", dict(fields))) == canonical(Row(9, "1", dict(sorted(fields))))
