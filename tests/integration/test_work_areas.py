"""Work areas: what is finished stays so, what is spoiled is seen, on disks and in object stores."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.contacts import (
    BatchSummary,
    EnrichmentPlan,
    EnrichmentReport,
    InputIdentity,
    Part,
    Receipt,
)
from schemas.errors import StoreError, StoreUnavailable, UsageError
from stores.enrichment import open_area
from stores.enrichment.area import WorkArea
from stores.enrichment.lock import ObjectLock
from stores.enrichment.prefix import WorkPrefix
from stores.enrichment.records import FinishedBatch
from stores.enrichment.work import WorkFolder
from stores.objects import LocalObjectStore, ObjectInfo, S3Settings
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url

__all__ = ["moto_url"]  # a fixture: pytest finds it here

IDENTITY = InputIdentity("/c.ndjson", 10, "1-2-3")
PART = Part(0, 0, 2)
PLAN = EnrichmentPlan("p", IDENTITY, {}, 5, 10, 2, (PART,))
RECEIPT = Receipt(IDENTITY, {}, EnrichmentReport(10, 10, 0, {}, 2, 0, 2, 0, 0.5, "00"))


@dataclass(frozen=True)
class Place:
    """Where an output is to be."""

    out: str
    s3: S3Settings | None = None

    def area(self) -> WorkArea:
        """As another process would open it."""
        if self.out.startswith("objects:"):
            return WorkPrefix(LocalObjectStore(self.out.removeprefix("objects:")), "out.ndjson")
        return open_area(self.out, self.s3)


@pytest.fixture(params=["folder", "objects", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(str(tmp_path / "out.ndjson"))
    if request.param == "objects":
        return Place(f"objects:{tmp_path}")
    url, bucket = request.getfixturevalue("moto_url"), f"b-{uuid.uuid4().hex[:12]}"
    make_bucket(url, bucket)
    settings = S3Settings(url, REGION, ACCESS_KEY, SECRET_KEY)
    return Place(f"s3://{bucket}/some/out.ndjson", settings)


@pytest.fixture
def area(place: Place) -> Iterator[WorkArea]:
    found = place.area()
    with found.locked():
        yield found


def batch(number: int) -> FinishedBatch:
    return FinishedBatch(number, BatchSummary(1), b"d" * 32, b'{"line":%d}\n' % number)


def finish(area: WorkArea, plan: str = "p") -> None:
    results = area.results(plan, PART)
    results.add(batch(1))
    results.add(batch(0))


def test_a_part_is_finished_when_all_its_batches_are(area: WorkArea) -> None:
    results = area.results("p", PART)
    results.add(batch(1))
    assert (results.is_complete, area.finished("p", PART)) == (False, None)
    results.add(batch(0))
    assert (results.is_complete, area.finished("p", PART)) == (True, [batch(0), batch(1)])


def test_what_is_finished_of_a_part_that_is_left_is_found_again(area: WorkArea) -> None:
    results = area.results("p", PART)
    results.add(batch(1))
    results.close()
    again = area.results("p", PART)
    assert again.finished == {1: BatchSummary(1)}
    again.add(batch(0))
    assert area.finished("p", PART) == [batch(0), batch(1)]


def test_a_finished_part_is_found_finished(area: WorkArea) -> None:
    finish(area)
    again = area.results("p", PART)
    assert (again.is_complete, sorted(again.finished)) == (True, [0, 1])


def test_two_workers_at_one_part_finish_it_once(area: WorkArea) -> None:
    slow = area.results("p", PART)
    slow.add(batch(0))
    finish(area)
    slow.add(batch(1))
    assert area.finished("p", PART) == [batch(0), batch(1)]


def test_what_belongs_to_another_plan_is_not_seen(area: WorkArea) -> None:
    finish(area, "other")
    assert area.finished("p", PART) is None
    assert area.results("p", PART).finished == {}


def test_after_its_end_a_part_takes_no_batch(area: WorkArea) -> None:
    results = area.results("p", PART)
    results.close()
    results.add(batch(0))
    assert area.results("p", PART).finished == {}


def test_rows_that_were_set_aside_are_there_for_a_worker(area: WorkArea) -> None:
    area.write_part("p", 0, b"rows")
    worker = pickle.loads(pickle.dumps(area))
    assert worker.read_part("p", 0) == b"rows"


def test_rows_that_are_gone_are_an_error(area: WorkArea) -> None:
    with pytest.raises(StoreError, match="gone"):
        area.read_part("p", 0)


def test_a_plan_is_gone_on_with_until_there_is_a_receipt(area: WorkArea) -> None:
    assert area.plan() is None
    area.write_plan(PLAN)
    assert area.plan() == PLAN
    area.write_receipt(RECEIPT)
    assert (area.plan(), area.receipt()) == (None, RECEIPT)


def test_a_receipt_leaves_nothing_else(area: WorkArea, place: Place) -> None:
    area.write_plan(PLAN)
    finish(area)
    area.write_receipt(RECEIPT)
    assert area.finished("p", PART) is None
    area.clear()
    assert (area.receipt(), area.plan()) == (None, None)


def test_after_the_output_a_worker_that_was_given_up_leaves_nothing(area: WorkArea) -> None:
    area.write_receipt(RECEIPT)
    with pytest.raises(StoreError, match="there already"):
        area.results("p", PART)


def test_one_run_at_a_time(place: Place) -> None:
    with place.area().locked(), pytest.raises(UsageError, match="another run"):
        place.area().locked().__enter__()
    with place.area().locked():
        pass


def test_an_output_is_seen_when_it_is_whole(area: WorkArea) -> None:
    with area.publishing() as sink:
        sink.write(b"half")
        assert not area.has_output()
    assert area.has_output()


@contextmanager
def broken(area: WorkArea) -> Iterator[None]:
    with area.publishing() as sink:
        sink.write(b"half")
        yield
        raise StoreError("no room")


def test_an_output_that_fails_is_not_seen(area: WorkArea) -> None:
    with pytest.raises(StoreError), broken(area):
        pass
    assert not area.has_output()


def test_a_lock_that_was_taken_over_keeps_the_output_from_being_published(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    area = WorkPrefix(store, "out.ndjson")

    def publish() -> None:
        with area.locked(), area.publishing() as sink:
            sink.write(b"mine")
            store.put("_lethe/enrich/out.ndjson/lock", b"another's")

    with pytest.raises(StoreError, match="taken over"):
        publish()
    assert not area.has_output()


class LosesAnswer(LocalObjectStore):
    """The answer to the first sign of life is lost, though it was kept."""

    is_lost = False

    def put_if_match(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        info = super().put_if_match(key, data, etag)
        if not self.is_lost:
            self.is_lost = True
            raise StoreUnavailable("no answer came")
        return info


def test_a_lock_whose_sign_of_life_went_unanswered_is_still_held(tmp_path: Path) -> None:
    lock = ObjectLock(LosesAnswer(tmp_path), "lock")
    with lock.held("out.ndjson"):
        with pytest.raises(StoreUnavailable):
            lock.check()
        lock.check()
    assert LocalObjectStore(tmp_path).head("lock") is None


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    area = WorkPrefix(store, "out.ndjson")
    with area.locked():
        content = store.read("_lethe/enrich/out.ndjson/lock")
    store.put("_lethe/enrich/out.ndjson/lock", content.replace(b'"pid":', b'"pid":9'))
    with area.locked():
        pass


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    area = WorkFolder(tmp_path / "out.ndjson")
    with area.locked():
        area.write_plan(PLAN)
        (area.path / "plan.json").write_bytes(b'{"digest": "00"}')
        with pytest.raises(StoreError, match="another version"):
            area.plan()
