"""Entries that replace files: whoever dies or races, every row is there once, or erased.

A file's content is a string of rows, a letter each.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import pytest

from schemas.delivery import Counts, Partition, summary
from schemas.erasure import ErasedFile, FileKind
from schemas.errors import ObjectChanged, ObjectMissing
from schemas.stream_log import Portion, Stretch
from stores.lake_files import lake_files
from stores.log import (
    COMPACT,
    ERASE,
    STREAM,
    Commit,
    DataFile,
    DeliveryLog,
    FilesTaken,
    Owner,
    Run,
    SourceTaken,
    staging_name,
)
from stores.objects import LocalObjectStore, ObjectStore, S3Settings, StagedObject
from stores.objects.s3 import S3ObjectStore
from stores.stream_log import StagedPane, StreamCommitter
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url

__all__ = ["moto_url"]  # a fixture: pytest finds it here

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEAD = replace(Owner.this_process(), started="0")
"""A process of this machine that is gone; another has its number now."""

FOLDER = "type=sale/date=2026-01-02/"
A, B, C, D = (f"{FOLDER}{name}" for name in "abcd")


class Killed(BaseException):
    """The process has ended."""


class Watched:
    """Calls ``on_call`` before and after whatever changes a store, a file at a time."""

    on_call: Callable[[], None] = staticmethod(lambda: None)

    def put(self, *args: Any) -> Any:
        return self._watched("put", *args)

    def put_if_absent(self, *args: Any) -> Any:
        return self._watched("put_if_absent", *args)

    def delete(self, *args: Any) -> Any:
        return self._watched("delete", *args)

    def delete_if_match(self, *args: Any) -> Any:
        return self._watched("delete_if_match", *args)

    def publish_if_match(self, *args: Any) -> Any:
        return self._watched("publish_if_match", *args)

    def clear_staging(self, *args: Any) -> Any:
        return self._watched("clear_staging", *args)

    def publish(self, staged: Iterable[StagedObject]) -> None:
        for one in staged:
            self._watched("publish", [one])

    def _watched(self, name: str, *args: Any) -> Any:
        self.on_call()
        result = getattr(super(), name)(*args)
        self.on_call()
        return result


class WatchedFolder(Watched, LocalObjectStore):
    """A lake in a folder."""


class WatchedBucket(Watched, S3ObjectStore):
    """A lake in S3."""


Store = WatchedFolder | WatchedBucket


@pytest.fixture(params=["local", "moto"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes empty stores."""
    if request.param == "local":
        return lambda: WatchedFolder(tmp_path / uuid.uuid4().hex)
    url = str(request.getfixturevalue("moto_url"))
    bucket = f"lethe-{uuid.uuid4().hex}"
    make_bucket(url, bucket)
    settings = S3Settings(url, REGION, ACCESS_KEY, SECRET_KEY)
    return lambda: WatchedBucket(bucket, uuid.uuid4().hex, settings)


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    return make_store()


def log_of(store: ObjectStore, owner: Owner | None = None) -> DeliveryLog:
    return DeliveryLog(store, owner)


def stage(store: ObjectStore, run: Run, path: str, rows: bytes) -> DataFile:
    writer = store.stage(path, run.run_id)
    writer.write(rows)
    partition = Partition("sale", "2026-01-02")
    return DataFile(partition, "avro", "null", len(rows), 0, 0, "f" * 16, writer.close())


def begin(log: DeliveryLog, run_id: str) -> Run:
    return log.begin(run_id, log.last_number())


def draft(run: Run, kind: str, files: Iterable[DataFile], removed: Iterable[str] = ()) -> Commit:
    nothing = summary(Counts())
    return Commit(0, run.run_id, kind, NOW, tuple(files), (), nothing, tuple(removed))


def deliver(store: ObjectStore, files: Mapping[str, bytes], run_id: str = "deliver") -> Run:
    log = log_of(store)
    run = begin(log, run_id)
    log.commit(run, draft(run, "deliver", [stage(store, run, *file) for file in files.items()]))
    log.finish(run)
    return run


def erasure(store: ObjectStore, run: Run, rows: bytes, paths: Iterable[str]) -> Commit:
    """What is left of files without some rows, staged."""
    files, removed, erased = [], [], []
    for path in paths:
        info = store.head(path)
        content = store.read(path) if info is not None else b""
        left = content.translate(None, rows)
        if info is None or left == content:
            continue
        erased.append(ErasedFile(path, FileKind.DATA, 0, 0, 0, "", None, info.etag))
        if left:
            files.append(stage(store, run, path, left))
        else:
            removed.append(path)
    return replace(draft(run, ERASE, files, removed), erased=tuple(erased), erasure="e")


def erase(
    store: ObjectStore, rows: bytes = b"x", run_id: str = "erase", owner: Owner | None = None
) -> Commit:
    log = log_of(store, owner)
    run = begin(log, run_id)
    made = log.commit(run, erasure(store, run, rows, [*contents(store)]))
    log.finish(run)
    return made


def compaction(store: ObjectStore, run: Run, paths: Iterable[str], into: str) -> Commit:
    """The rows of some files in one, staged."""
    inputs = list(paths)
    rows = b"".join(store.read(path) for path in inputs)
    return draft(run, COMPACT, [stage(store, run, into, rows)], inputs)


def compact(store: ObjectStore, run_id: str = "compact", owner: Owner | None = None) -> None:
    log = log_of(store, owner)
    run = begin(log, run_id)
    log.commit(run, compaction(store, run, [A, B], D))
    log.finish(run)


def contents(store: ObjectStore) -> dict[str, bytes]:
    found = {}
    for info in store.list("type="):
        try:
            found[info.key] = store.read(info.key)
        except ObjectMissing:
            continue  # gone since it was listed
    return found


def rows_of(store: ObjectStore) -> bytes:
    return bytes(sorted(b"".join(contents(store).values())))


def in_progress(store: ObjectStore) -> list[str]:
    """Markers and staged data."""
    return [i.key for p in ("_lethe/runs/", "_lethe/staging/") for i in store.list(p)]


FILES = {A: b"ax", B: b"x", C: b"c"}


def test_an_erasure_replaces_files_and_removes_what_it_emptied(store: Store) -> None:
    deliver(store, FILES)
    made = erase(store)
    assert contents(store) == {A: b"a", C: b"c"}
    assert (in_progress(store), log_of(store).conflicts(made)) == ([], ())


def test_a_compaction_takes_the_place_of_its_inputs(store: Store) -> None:
    deliver(store, FILES)
    compact(store)
    assert contents(store) == {C: b"c", D: b"axx"}
    assert in_progress(store) == []


# --- deaths


class Mortal:
    """Kills the process at the n-th half of a call; the dead do nothing any more."""

    def __init__(self, dies_at: int) -> None:
        self._left = dies_at
        self._lock = Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise Killed


def deaths(make_store: Callable[[], Store], work: Work) -> Iterator[Store]:
    """Lakes in which the work was killed, at each call, and recovered by somebody else.

    Of S3's many calls at every third.
    """
    for dies_at in range(0, 200, 1 if isinstance(make_store(), LocalObjectStore) else 3):
        store = make_store()
        deliver(store, FILES)
        store.on_call = Mortal(dies_at)
        try:
            work(store)
        except Killed:
            store.on_call = lambda: None
            log_of(store).recover()
            yield store
        else:
            assert dies_at > 10, "nothing was killed"
            return


Work = Callable[[Store], object]

WORK: Mapping[str, tuple[Work, Mapping[str, bytes]]] = {
    "erase": (lambda store: erase(store, owner=DEAD), {A: b"a", C: b"c"}),
    "compact": (lambda store: compact(store, owner=DEAD), {C: b"c", D: b"axx"}),
}


@pytest.mark.parametrize("kind", WORK)
def test_a_killed_run_is_done_or_undone_wherever_it_was(
    make_store: Callable[[], Store], kind: str
) -> None:
    work, done = WORK[kind]
    for store in deaths(make_store, work):
        has_committed = [commit.kind for commit in log_of(store).commits()][1:] == [kind]
        assert contents(store) == (done if has_committed else FILES)
        assert in_progress(store) == []


def test_an_erasure_that_was_killed_is_run_again(tmp_path: Path) -> None:
    work, done = WORK["erase"]
    for store in deaths(lambda: WatchedFolder(tmp_path / uuid.uuid4().hex), work):
        erase(store, run_id="again")
        assert contents(store) == done


@pytest.mark.parametrize(("kind", "rows"), [("erase", b"ac"), ("compact", b"acxx")])
def test_a_reader_of_the_folder_never_misses_a_row(store: Store, kind: str, rows: bytes) -> None:
    deliver(store, FILES)
    seen: list[bytes] = []
    store.on_call = lambda: seen.append(rows_of(store))
    WORK[kind][0](store)
    assert all(seen_rows.count(row) >= rows.count(row) for seen_rows in seen for row in rows)


# --- races


def test_of_two_erasures_of_one_file_the_second_has_to_look_again(store: Store) -> None:
    deliver(store, FILES)
    log = log_of(store)
    first, second = begin(log, "first"), begin(log, "second")
    drafts = [erasure(store, run, rows, [A, C]) for run, rows in ((first, b"x"), (second, b"ac"))]
    log.commit(first, drafts[0])
    with pytest.raises(FilesTaken) as refusal:
        log.commit(second, drafts[1])
    assert (refusal.value.paths, contents(store)[C]) == ((A,), b"c")


def test_a_refused_erasure_commits_without_what_was_taken(store: Store) -> None:
    deliver(store, FILES)
    log = log_of(store)
    run = begin(log, "second")
    whole = erasure(store, run, b"ac", [A, C])
    erase(store, b"x", "first")
    with pytest.raises(FilesTaken):
        log.commit(run, whole)
    log.commit(run, erasure(store, run, b"ac", [C]))
    log.finish(run)
    assert (contents(store), in_progress(store)) == ({A: b"a"}, [])


def test_a_compaction_does_not_bring_back_what_was_erased_beside_it(store: Store) -> None:
    deliver(store, FILES)
    log = log_of(store)
    run = begin(log, "compact")
    made = compaction(store, run, [A, B], D)
    erase(store)
    with pytest.raises(FilesTaken) as refusal:
        log.commit(run, made)
    log.finish(run)
    assert (set(refusal.value.paths), contents(store)) == ({A, B}, {A: b"a", C: b"c"})


def test_an_erasure_is_told_that_its_file_was_compacted_beside_it(store: Store) -> None:
    deliver(store, FILES)
    log = log_of(store)
    run = begin(log, "erase")
    made = erasure(store, run, b"x", [A, B, C])
    compact(store)
    with pytest.raises(FilesTaken, match="2 of its files"):
        log.commit(run, made)
    log.finish(run)
    assert contents(store) == {C: b"c", D: b"axx"}


def test_dead_letters_that_were_erased_are_not_replayed_as_they_were(store: Store) -> None:
    letters = "errors/date=2026-01-02/a"
    deliver(store, {letters: b"ax"})
    log = log_of(store)
    replay, run = begin(log, "replay"), begin(log, "erase")
    log.commit(run, erasure(store, run, b"x", [letters]))
    with pytest.raises(SourceTaken, match="the same dead letters"):
        log.commit(replay, draft(replay, "replay", [stage(store, replay, A, b"ax")], [letters]))


def test_a_delivery_beside_an_erasure_commits(store: Store) -> None:
    deliver(store, FILES)
    log = log_of(store)
    run = begin(log, "beside")
    erase(store)
    log.commit(run, draft(run, "deliver", [stage(store, run, D, b"d")]))
    assert contents(store) == {A: b"a", C: b"c", D: b"d"}


def test_a_delivery_that_publishes_late_leaves_what_followed(store: Store) -> None:
    log = log_of(store)
    run = begin(log, "slow")
    files = [stage(store, run, *file) for file in FILES.items()]
    log.append(replace(draft(run, "deliver", files), number=1))
    log.recover()
    erase(store)
    compaction_run = begin(log, "compact")
    log.commit(compaction_run, compaction(store, compaction_run, [A, C], D))
    log.finish(run)
    assert contents(store) == {D: b"ac"}


class Overtaken(LocalObjectStore):
    """Publishes, and before that lets others do the same and more."""

    meanwhile: Callable[[], object] | None = None

    def publish(self, staged: Iterable[StagedObject]) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        super().publish(staged)


def test_a_delivery_that_is_overtaken_while_it_publishes_leaves_what_followed(
    tmp_path: Path,
) -> None:
    store, others = Overtaken(tmp_path), LocalObjectStore(tmp_path)

    def overtake() -> None:
        log_of(others).recover()
        erase(others)
        compact_run = begin(log_of(others), "compact")
        merged = compaction(others, compact_run, [A, C], D)
        log_of(others).commit(compact_run, merged)

    store.meanwhile = overtake
    deliver(store, FILES)
    assert contents(store) == {D: b"ac"}


def test_a_lost_file_that_nobody_replaced_is_still_an_error(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    log = log_of(store)
    run = begin(log, "run")
    made = draft(run, "deliver", [stage(store, run, A, b"a")])
    store.clear_staging("run")
    with pytest.raises(ObjectMissing, match="staged data is gone"):
        log.commit(run, made)


def test_a_stream_that_starts_again_leaves_what_was_erased_of_its_files(store: Store) -> None:
    log = log_of(store)
    run = log.begin("stream", 0, STREAM)
    sales, shard = Portion("sale", "2026-01-02", 0, 300, "UTC"), "kinesis://r/s/shard"
    area = replace(run, run_id=staging_name(run.run_id, datetime.now(UTC)))
    files = tuple(stage(store, area, *file) for file in FILES.items())
    now = datetime.now(UTC)
    pane = StagedPane(sales, (Stretch(shard, None, "9"),), files, Counts(delivered=3), now)
    committer = StreamCommitter(store, run)
    committer.start()
    committer.commit([pane], {})
    erase(store)
    StreamCommitter(store, run).start()
    log.publish(next(log.commits()))
    assert contents(store) == {A: b"a", C: b"c"}


def test_what_another_tool_has_changed_is_left_and_told(store: Store) -> None:
    deliver(store, FILES)
    log = log_of(store)
    run = begin(log, "erase")
    made = erasure(store, run, b"x", [A, B])
    store.put(A, b"theirs, x")
    store.put(B, b"bx")
    entry = log.commit(run, made)
    log.finish(run)
    assert (log.conflicts(entry), contents(store)) == ((A, B), {A: b"theirs, x", B: b"bx", C: b"c"})


def test_no_conflict_is_what_was_erased_anew(store: Store) -> None:
    deliver(store, FILES)
    log = log_of(store)
    run = begin(log, "erase")
    made = erasure(store, run, b"x", [A])
    store.put(A, b"theirs, x")
    entry = log.commit(run, made)
    log.finish(run)
    again = erase(store, run_id="again")
    assert (log.conflicts(entry), log.conflicts(again)) == ((), ())
    assert contents(store) == {A: b"theirs, ", C: b"c"}


def test_indexes_are_there_before_their_files(store: Store) -> None:
    log = log_of(store)
    run = begin(log, "run")
    index = stage(store, run, "_lethe/index/run/0.idx", b"hashes").staged
    made = replace(draft(run, "deliver", [stage(store, run, A, b"a")]), indexes=(index,))
    seen: list[tuple[bool, bool]] = []
    store.on_call = lambda: seen.append((exists(store, A), exists(store, index.key)))
    log.commit(run, made)
    assert (True, True) in seen
    assert (True, False) not in seen


def exists(store: ObjectStore, key: str) -> bool:
    return store.head(key) is not None


def test_erasures_that_race_all_have_their_way(store: Store) -> None:
    racers = b"stuvw"
    deliver(store, {A: b"a" + racers, B: b"b" + racers, C: racers})
    start = Barrier(len(racers))

    def insist(row: int) -> None:
        start.wait()
        for attempt in range(50):
            if erase_what_is_free(store, bytes([row]), f"{row}-{attempt}"):
                return

    with ThreadPoolExecutor(len(racers)) as pool:
        list(pool.map(insist, racers))
    assert (contents(store), in_progress(store)) == ({A: b"a", B: b"b"}, [])


def erase_what_is_free(store: ObjectStore, rows: bytes, run_id: str) -> bool:
    """One pass; whether there was nothing to be done."""
    log = log_of(store)
    run = begin(log, run_id)
    log.recover()
    try:
        made = erasure(store, run, rows, [file.path for file in lake_files(store, log)])
        if not made.erased:
            return True
        log.commit(run, made)
    except (FilesTaken, ObjectChanged, ObjectMissing):
        return False
    finally:
        log.finish(run)
    return False


def test_rows_are_there_once_after_erasures_and_compactions_that_race(store: Store) -> None:
    files = {f"{FOLDER}{number:02}": b"%cx" % row for number, row in enumerate(b"abcdefgh")}
    deliver(store, files)

    def keep_compacting() -> None:
        for number in range(6):
            compact_two(store, f"compact-{number}")

    def keep_erasing(name: str) -> None:
        for number in range(60):
            if erase_what_is_free(store, b"x", f"{name}-{number}"):
                return

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(keep_compacting), *(pool.submit(keep_erasing, n) for n in "pq")]:
            done.result()
    erase_what_is_free(store, b"x", "last")
    assert (rows_of(store), in_progress(store)) == (b"abcdefgh", [])


def compact_two(store: ObjectStore, run_id: str) -> None:
    log = log_of(store)
    run = begin(log, run_id)
    log.recover()
    try:
        paths = sorted(contents(store))[:2]
        log.commit(run, compaction(store, run, paths, f"{FOLDER}{run_id}"))
    except (FilesTaken, ObjectMissing):
        return
    finally:
        log.finish(run)
