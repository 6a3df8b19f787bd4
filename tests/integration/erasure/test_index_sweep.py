"""Containers of subject indexes that nothing names any more are removed, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runners.index import Indexing, run_indexing
from schemas.erasure import IndexedFile, IndexRef
from stores.index_sweep import GRACE, sweep_indexes
from stores.lake_files import lake_files
from stores.log import STREAM, Commit, DeliveryLog
from stores.log_entries import INDEX, bare_entry
from stores.objects.port import ObjectStore
from stores.objects.s3 import S3ObjectStore
from tests.erasing import EMAIL, deliver, runner, site

START = datetime.now(UTC)
LATER = START + GRACE + timedelta(hours=1)


def index_anew(store: ObjectStore, name: str, at: datetime = START) -> Commit:
    """Another index of the only file, in a container of its own."""
    log = DeliveryLog(store, clock=lambda: at)
    (file,) = lake_files(store, log)
    assert file.logged is not None
    run = log.begin(f"index-{name}", log.last_number())
    writer = store.stage(f"_lethe/index/{run.run_id}/{name}.idx", run.run_id)
    writer.write(b"set")
    staged = writer.close()
    made = IndexedFile(file.path, file.logged.staged.sha256, IndexRef(staged.key, 0, 3))
    entry = replace(bare_entry(run.run_id, INDEX, at), indexes=(staged,), indexed=(made,))
    commit = log.commit(run, entry)
    log.finish(run)
    return commit


def containers(store: ObjectStore) -> list[str]:
    return [info.key.rpartition("/")[2] for info in store.list("_lethe/index/")]


@pytest.fixture
def lake(store: ObjectStore) -> ObjectStore:
    """A file that was indexed twice."""
    deliver(store, "one", EMAIL)
    index_anew(store, "old")
    index_anew(store, "new")
    return store


def test_container_that_no_file_has_its_index_in_goes(lake: ObjectStore) -> None:
    assert sweep_indexes(lake, DeliveryLog(lake), LATER) == 1
    assert containers(lake) == ["new.idx"]


def test_young_container_stays(lake: ObjectStore) -> None:
    assert sweep_indexes(lake, DeliveryLog(lake), START + GRACE / 2) == 0


def test_container_that_was_named_until_of_late_stays(lake: ObjectStore) -> None:
    index_anew(lake, "newest", at=LATER)
    assert sweep_indexes(lake, DeliveryLog(lake), LATER) == 1
    assert containers(lake) == ["new.idx", "newest.idx"]


def test_container_that_a_run_under_way_may_name_stays(lake: ObjectStore) -> None:
    log = DeliveryLog(lake)
    run = log.begin("erasure", log.last_number() - 1)
    assert sweep_indexes(lake, log, LATER) == 0
    log.finish(run)
    assert sweep_indexes(lake, log, LATER) == 1


def test_run_without_end_holds_up_no_sweep(lake: ObjectStore) -> None:
    log = DeliveryLog(lake)
    log.begin("stream", 0, STREAM)
    assert sweep_indexes(lake, log, LATER) == 1


def test_entry_whose_container_was_swept_can_be_published_again(lake: ObjectStore) -> None:
    if isinstance(lake, S3ObjectStore):
        pytest.skip("moto answers 500, not NoSuchUpload, when an upload is completed again")
    log = DeliveryLog(lake)
    sweep_indexes(lake, log, LATER)
    for commit in log.commits():
        log.publish(commit)
    assert containers(lake) == ["new.idx"]


def test_file_whose_container_is_gone_gets_an_index_anew(lake: ObjectStore) -> None:
    here = site(lake)
    indexing = Indexing(lake, here.registry, here.scrub_key)
    assert run_indexing(indexing, runner()).indexed == 1
    assert run_indexing(indexing, runner()).indexed == 0
