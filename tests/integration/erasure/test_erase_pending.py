"""What others have committed, and not put in place yet, when an erasure looks for rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.delivery import Partition
from schemas.erasure import ErasedFile, FileKind
from stores.log import COMPACT, ERASE, DataFile, DeliveryLog
from stores.log_entries import bare_entry
from stores.objects import LocalObjectStore
from stores.objects.port import ObjectInfo
from stores.suppression import SUPPRESSIONS
from tests.erasing import EMAIL, OTHER, deliver, emails_in, erase, parquet_of, paths

THIRD = "cy@acme.example"


class Interrupted(LocalObjectStore):
    """A lake in which something happens between an erasure's recovery and its first look."""

    then: Callable[[], object] | None = None

    def put(self, key: str, data: bytes) -> ObjectInfo:
        then, made = self.then, super().put(key, data)
        if then is not None and key.startswith(SUPPRESSIONS):
            self.then = None
            then()
        return made


class Paused:
    """A run that commits, and is paused before it puts anything in place."""

    def __init__(self, lake: LocalObjectStore) -> None:
        self._lake, self._log = lake, DeliveryLog(lake)
        self._run = self._log.begin("run-paused", self._log.last_number())

    def staged(self, key: str, *emails: str) -> DataFile:
        writer = self._lake.stage(key, self._run.run_id)
        writer.write(parquet_of(emails))
        count, partition = len(emails), Partition("visit", "2026-01-03")
        return DataFile(partition, "parquet", "snappy", count, None, None, None, writer.close())

    def commits(self, kind: str, **what: Any) -> None:
        entry = bare_entry(self._run.run_id, kind, datetime.now(UTC))
        self._entry = replace(entry, number=self._log.last_number() + 1, **what)
        self._log.append(self._entry)

    def wakes(self) -> None:
        self._log.publish(self._entry)
        self._log.finish(self._run)


@pytest.fixture
def store(tmp_path: Path) -> Interrupted:
    return Interrupted(tmp_path / "lake")


def test_rows_that_a_compaction_is_moving_are_not_there_twice(store: Interrupted) -> None:
    small = [deliver(store, email[:2], EMAIL, email).files[0].path for email in (OTHER, THIRD)]
    other: list[Paused] = []

    def compact() -> None:
        other.append(paused := Paused(store))
        made = paused.staged("type=visit/date=2026-01-03/large.parquet", EMAIL, OTHER, THIRD)
        paused.commits(COMPACT, files=(made,), removed=tuple(small))

    store.then = compact
    erase(store)
    other[0].wakes()
    assert [emails_in(store, path) for path in paths(store)] == [[OTHER, THIRD]]


def test_late_rows_that_another_run_is_taking_out_do_not_stay(store: Interrupted) -> None:
    erase(store, THIRD)
    path = deliver(store, "late", EMAIL, OTHER, THIRD).files[0].path
    other: list[Paused] = []

    def cleanse() -> None:
        other.append(paused := Paused(store))
        made, info = paused.staged(path, EMAIL, OTHER), store.head(path)
        assert info is not None
        done = ErasedFile(path, FileKind.DATA, 3, 1, 2, "", made.staged.sha256, info.etag)
        owed = DeliveryLog(store).positions().owed
        paused.commits(ERASE, files=(made,), erased=(done,), cleansed=owed)

    store.then = cleanse
    erase(store)
    other[0].wakes()
    assert emails_in(store, path) == [OTHER]
