"""The files of a lake as the log knows them, and what compactions move past a listing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.delivery import Counts, Partition, summary
from schemas.erasure import FileKind
from stores.lake_files import LakeFile, lake_files
from stores.log import COMPACT, LOG, Commit, DataFile, DeliveryLog
from stores.objects import LocalObjectStore, ObjectInfo

FOLDER = "type=sale/date=2026-01-02/"


class Lake:
    """A lake in a folder, and its log."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalObjectStore(folder)
        self.log = DeliveryLog(self.store)

    def deliver(self, *names: str, kind: str = "deliver", removed: tuple[str, ...] = ()) -> Commit:
        run_id = "-".join((kind, *(name.rpartition("/")[2] for name in names)))
        run = self.log.begin(run_id, self.log.last_number())
        files = tuple(self.stage(name, run_id) for name in names)
        now, nothing = datetime.now(UTC), summary(Counts())
        draft = Commit(0, run_id, kind, now, files, (), nothing, removed)
        made = self.log.commit(run, draft)
        self.log.finish(run)
        return made

    def stage(self, path: str, run_id: str) -> DataFile:
        writer = self.store.stage(path, run_id)
        writer.write(path.encode())
        partition = Partition("sale", "2026-01-02")
        return DataFile(partition, "parquet", "zstd", 1, 0, 0, "f" * 16, writer.close())

    def files(self) -> list[LakeFile]:
        return list(lake_files(self.store, self.log))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_a_file_comes_with_what_the_log_says_of_it(lake: Lake) -> None:
    commit = lake.deliver(f"{FOLDER}a")
    (found,) = lake.files()
    assert (found.kind, found.type, found.date) == (FileKind.DATA, "sale", "2026-01-02")
    assert (found.logged, found.committed_at) == (commit.files[0], commit.committed_at)
    assert found.is_as_logged


def test_dead_letters_are_among_the_files(lake: Lake) -> None:
    lake.deliver("errors/date=2026-01-02/a", "errors/parked/date=2026-01-03/b")
    kinds = {(found.kind, found.type, found.date) for found in lake.files()}
    assert kinds == {
        (FileKind.DEAD_LETTERS, None, "2026-01-02"),
        (FileKind.DEAD_LETTERS, None, "2026-01-03"),
    }


def test_a_file_that_the_log_does_not_know_is_not_passed_over(lake: Lake) -> None:
    lake.store.put(f"{FOLDER}by-hand", b"rows")
    (found,) = lake.files()
    assert (found.path, found.logged, found.is_as_logged) == (f"{FOLDER}by-hand", None, False)


def test_names_that_readers_ignore_are_passed_over(lake: Lake) -> None:
    for name in ("_SUCCESS", ".part.crc", "_temporary/0/part"):
        lake.store.put(f"{FOLDER}{name}", b"")
    assert lake.files() == []


def test_a_file_that_was_rewritten_is_not_as_logged(lake: Lake) -> None:
    lake.deliver(f"{FOLDER}a")
    lake.store.put(f"{FOLDER}a", f"{FOLDER}b".encode())
    (found,) = lake.files()
    assert found.logged is not None
    assert (found.info.size, found.is_as_logged) == (found.logged.staged.size, False)


def test_a_file_of_an_old_entry_is_told_by_size_and_time(lake: Lake) -> None:
    lake.deliver(f"{FOLDER}a")
    (found,) = lake.files()
    assert found.logged is not None
    staged = replace(found.logged.staged, etag="")
    old = replace(found, logged=replace(found.logged, staged=staged))
    late = replace(found.info, modified=found.info.modified + timedelta(hours=1))
    assert (old.is_as_logged, replace(old, info=late).is_as_logged) == (True, False)


def test_what_replaced_a_file_is_what_the_log_says_of_it(lake: Lake) -> None:
    lake.deliver(f"{FOLDER}a", f"{FOLDER}b")
    lake.deliver(f"{FOLDER}c", kind=COMPACT, removed=(f"{FOLDER}a", f"{FOLDER}b"))
    assert [(found.path, found.is_as_logged) for found in lake.files()] == [(f"{FOLDER}c", True)]


class Interrupted(LocalObjectStore):
    """Does something when a listing has come to the file ``at``."""

    at: str
    then: Callable[[], object]

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        for info in super().list(prefix, start_after=start_after):
            if info.key == self.at and self.head(self.at) is not None:
                self.then()
            if self.head(info.key) is not None:
                yield info


def interrupted(lake: Lake, at: str, then: Callable[[], object]) -> list[str]:
    store = Interrupted(lake.store.uri)
    store.at, store.then = at, then
    return [found.path for found in lake_files(store, lake.log)]


def test_rows_that_a_compaction_moves_past_a_listing_are_seen(lake: Lake) -> None:
    lake.deliver(f"{FOLDER}b", f"{FOLDER}c")
    removed = (f"{FOLDER}b", f"{FOLDER}c")
    moved = interrupted(
        lake, removed[0], lambda: lake.deliver(f"{FOLDER}a", kind=COMPACT, removed=removed)
    )
    assert moved == [f"{FOLDER}a"]


def test_rows_that_are_moved_twice_past_a_listing_are_seen(lake: Lake) -> None:
    lake.deliver(f"{FOLDER}d", f"{FOLDER}e")

    def compact_twice() -> None:
        removed = (f"{FOLDER}d", f"{FOLDER}e")
        lake.deliver(f"{FOLDER}b", kind=COMPACT, removed=removed)
        lake.deliver(f"{FOLDER}a", kind=COMPACT, removed=(f"{FOLDER}b",))

    assert interrupted(lake, f"{FOLDER}d", compact_twice) == [f"{FOLDER}a"]


def test_what_was_listed_and_compacted_is_not_seen_twice(lake: Lake) -> None:
    lake.deliver(f"{FOLDER}b", f"{FOLDER}c")

    def compact_after() -> None:
        lake.deliver(f"{FOLDER}d", kind=COMPACT, removed=(f"{FOLDER}b", f"{FOLDER}c"))

    assert sorted(interrupted(lake, f"{FOLDER}b", compact_after)) == [f"{FOLDER}d"]


def test_a_committed_file_that_becomes_visible_behind_the_listing_is_seen(lake: Lake) -> None:
    lake.deliver(f"{FOLDER}b")
    run = lake.log.begin("slow", 1)
    entry = Commit(
        2, "slow", COMPACT, datetime.now(UTC), (lake.stage(f"{FOLDER}a", "slow"),), (), {}
    )
    lake.log.append(entry)
    assert lake.store.head(f"{LOG}{2:020d}.json") is not None
    assert interrupted(lake, f"{FOLDER}b", lambda: lake.log.finish(run)) == [
        f"{FOLDER}b",
        f"{FOLDER}a",
    ]
