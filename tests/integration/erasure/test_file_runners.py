"""Work with files, by whatever runs it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runners.direct import DirectRunner
from runners.file_runner import FileRunner, by_pipelines
from runners.forked_files import ForkedFiles, WorkerDied
from schemas.delivery import Partition
from schemas.erasure import ErasedFile, FileKind, FileMatch
from schemas.errors import LakeError, ObjectChanged
from stores.lake_files import LakeFile
from stores.log import DataFile
from stores.objects.local import LocalObjectStore
from stores.objects.port import ObjectStore
from transforms.erasure.files import Erased, Unread, Unreadable
from transforms.erasure.work import FileWork, Finder, Findings, Found, Gone

RUNNERS: dict[str, Callable[[ExitStack], FileRunner]] = {
    "here": lambda stack: stack.enter_context(ForkedFiles(1)),
    "forked": lambda stack: stack.enter_context(ForkedFiles(2)),
    "pipelines": lambda stack: by_pipelines(stack.enter_context(DirectRunner(1))),
}


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> Iterator[FileRunner]:
    with ExitStack() as stack:
        yield RUNNERS[request.param](stack)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return LocalObjectStore(tmp_path)


def files(store: ObjectStore, count: int) -> list[LakeFile]:
    found = []
    for number in range(count):
        Path(store.uri, f"{number:03}").write_bytes(b"x" * number)
        info = store.head(f"{number:03}")
        assert info is not None
        found.append(LakeFile(info, FileKind.DATA, "sale", None))
    return found


@dataclass(frozen=True)
class Measure:
    """Tells a file's bytes as its rows, and what goes wrong with those of these names."""

    changed: str = ""
    damaged: str = ""
    refused: str = ""
    broken: str = ""
    killed: str = ""
    interrupting: str = ""

    def open(self, store: ObjectStore) -> Finder:
        return lambda file: self._found(file, store)

    def _found(self, file: LakeFile, store: ObjectStore) -> Found | None:
        match file.path:
            case self.changed:
                raise ObjectChanged("was changed")
            case self.damaged:
                raise Unreadable(f"{file.path}: is damaged")
            case self.refused:
                raise LakeError("not in a usable state", path=file.path)
            case self.broken:
                int(f"{file.path}-of-ana")
            case self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            case self.interrupting:
                os.kill(os.getppid(), signal.SIGALRM)
                time.sleep(60)  # until it is killed
        rows = len(store.read(file.path))
        return FileMatch(file.path, file.kind, file.type, None, rows, 0) if rows else None


@dataclass(frozen=True)
class Locked:
    """Cannot be opened where it is to be done."""

    def open(self, _: ObjectStore) -> Finder:
        raise LakeError("the key here is another one")


def each(runner: FileRunner, store: ObjectStore, work: FileWork, count: int = 40) -> Findings:
    return runner.each(files(store, count), work, store, "an-erasure")


def test_each_file_is_dealt_with_once(runner: FileRunner, store: ObjectStore) -> None:
    found = each(runner, store, Measure())
    assert [(one.path, one.rows) for one in found.matches] == [(f"{n:03}", n) for n in range(1, 40)]


def test_one_work_follows_another(runner: FileRunner, store: ObjectStore) -> None:
    each(runner, store, Measure())
    assert each(runner, store, Measure(changed="001"), 3) == Findings(
        each(runner, store, Measure(), 3).matches[1:], gone=(Gone("001"),)
    )


def test_work_without_files_finds_nothing(runner: FileRunner, store: ObjectStore) -> None:
    assert each(runner, store, Measure(), 0) == Findings()


def test_nothing_is_left_in_the_lake_of_what_was_found(
    runner: FileRunner, store: ObjectStore
) -> None:
    each(runner, store, Measure(), 3)
    assert [info.key for info in store.list() if not info.key.startswith("_lethe/locks/")] == [
        "000", "001", "002",
    ]  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Stages each file anew."""

    def open(self, store: ObjectStore) -> Finder:
        return lambda file: self._staged(file, store)

    def _staged(self, file: LakeFile, store: ObjectStore) -> Erased:
        writer = store.stage(file.path, "a-run")
        writer.write(b"new")
        staged = writer.close()
        told = ErasedFile(file.path, file.kind, 2, 1, 1, "", staged.sha256, file.info.etag)
        of_sales = Partition("sale", "2026-01-01")
        return Erased(told, DataFile(of_sales, "parquet", "", 1, None, None, None, staged))


def test_disk_has_all_that_was_staged_when_the_work_is_done(
    runner: FileRunner, store: ObjectStore, synced: Callable[[], set[int]]
) -> None:
    found = each(runner, store, Stage())
    staged = {one.file.staged for one in found.erased if one.file is not None}
    assert len(staged) == 40
    assert {Path(store.uri, one.token).stat().st_ino for one in staged} <= synced()


@pytest.fixture
def synced(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The inodes that were synced, by this process or one that it has forked."""
    log, sync = tmp_path_factory.mktemp("synced") / "inodes", os.fsync

    def noted(descriptor: int) -> None:
        sync(descriptor)
        with log.open("a") as lines:
            lines.write(f"{os.fstat(descriptor).st_ino}\n")

    monkeypatch.setattr(os, "fsync", noted)
    return lambda: set(map(int, log.read_text().split()))


def test_file_that_cannot_be_read_is_told_with_the_reason(
    runner: FileRunner, store: ObjectStore
) -> None:
    assert each(runner, store, Measure(damaged="007")).unread == (Unread("007", "is damaged"),)


def test_error_in_a_file_ends_the_work(runner: FileRunner, store: ObjectStore) -> None:
    with pytest.raises(LakeError, match=r"^not in a usable state$"):
        each(runner, store, Measure(refused="020"))


def test_work_that_cannot_be_opened_is_an_error(runner: FileRunner, store: ObjectStore) -> None:
    with pytest.raises(LakeError, match=r"^the key here is another one$"):
        each(runner, store, Locked())


def test_bug_in_a_worker_tells_where_it_is_and_no_value(store: ObjectStore) -> None:
    with ForkedFiles(2) as runner, pytest.raises(RuntimeError) as caught:
        each(runner, store, Measure(broken="020"))
    assert "test_file_runners.py" in str(caught.value)
    assert "020-of-ana" not in str(caught.value)


def test_worker_that_is_killed_ends_the_work(store: ObjectStore) -> None:
    with ForkedFiles(2) as runner, pytest.raises(WorkerDied, match="signal 9"):
        each(runner, store, Measure(killed="020"))


@dataclass(frozen=True)
class Whose:
    """Tells by whom a file was dealt with, as its rows."""

    def open(self, _: ObjectStore) -> Finder:
        return lambda file: FileMatch(file.path, file.kind, None, None, os.getpid(), 0)


def workers_of(runner: FileRunner, store: ObjectStore) -> set[int]:
    return {one.rows for one in each(runner, store, Whose()).matches}


def check_gone(pids: set[int]) -> None:
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_are_other_processes_and_stay_the_same(store: ObjectStore) -> None:
    with ForkedFiles(2) as runner:
        pids = workers_of(runner, store)
        assert workers_of(runner, store) <= pids
        assert os.getpid() not in pids


def test_no_worker_is_left_when_work_has_failed(store: ObjectStore) -> None:
    with ForkedFiles(2) as runner:
        pids = workers_of(runner, store)
        with pytest.raises(LakeError):
            each(runner, store, Measure(refused="020"))
        check_gone(pids)


class Interrupted(BaseException):
    pass


def test_interrupted_work_leaves_no_worker(store: ObjectStore) -> None:
    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ForkedFiles(2) as runner:
            pids = workers_of(runner, store)
            with pytest.raises(Interrupted):
                each(runner, store, Measure(interrupting="020"))
            check_gone(pids)
    finally:
        signal.signal(signal.SIGALRM, before)
