"""The delivery log: what is committed once, is published once, by whoever comes next."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.delivery import Counts, Partition, summary
from schemas.errors import LakeError
from schemas.inputs import CoveredRange, SourcePosition
from schemas.stream_log import Portion, Stretch, Stretches
from schemas.streams import ShardRange
from stores.log import (
    ABANDONED,
    LOG,
    SNAPSHOT_EVERY,
    STALE_AFTER,
    STREAM,
    Commit,
    DataFile,
    DeliveryLog,
    Owner,
    Run,
    SourceTaken,
    staging_name,
)
from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.objects.s3 import S3ObjectStore
from stores.stream_log import LogSaysEnded, StagedPane, StreamCommitter
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url

__all__ = ["moto_url"]  # a fixture: pytest finds it here

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ELSEWHERE = Owner("another-machine", 1, "1")
DEAD = replace(Owner.this_process(), started="0")
"""A process of this machine that is gone; another has its number now."""


@pytest.fixture(params=["local", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "lake")
    url = str(request.getfixturevalue("moto_url"))
    bucket = f"lethe-{uuid.uuid4().hex}"
    make_bucket(url, bucket)
    return S3ObjectStore(bucket, "lake", S3Settings(url, REGION, ACCESS_KEY, SECRET_KEY))


def log_of(store: ObjectStore, owner: Owner | None = None, now: datetime = NOW) -> DeliveryLog:
    return DeliveryLog(store, owner, clock=lambda: now)


def begin(log: DeliveryLog, run_id: str = "run-1") -> Run:
    return log.begin(run_id, log.last_number())


def stage(store: ObjectStore, run: Run, name: str = "a") -> DataFile:
    writer = store.stage(f"type=sale/date=2026-01-02/{run.run_id}-{name}", run.run_id)
    writer.write(b"rows")
    partition = Partition("sale", "2026-01-02")
    return DataFile(partition, "parquet", "zstd", 1, 0, 0, "f" * 16, writer.close())


def draft(
    run: Run, *files: DataFile, source: str | None = None, end: int = 10, removed: str = ""
) -> Commit:
    covered = CoveredRange(0, end, "0" * 32)
    sources = () if source is None else (SourcePosition(source, end, "e", end, (covered,)),)
    taken = (removed,) if removed else ()
    return Commit(0, run.run_id, "deliver", NOW, files, sources, summary(Counts()), taken)


def deliver(log: DeliveryLog, store: ObjectStore, run_id: str, source: str, end: int = 10) -> None:
    run = begin(log, run_id)
    log.commit(run, draft(run, stage(store, run), source=source, end=end))
    log.finish(run)


def visible(store: ObjectStore) -> list[str]:
    return [info.key.rpartition("/")[2] for info in store.list("type=")]


def in_progress(store: ObjectStore) -> list[str]:
    """Markers and staged data."""
    return [i.key for p in ("_lethe/runs/", "_lethe/staging/") for i in store.list(p)]


def test_commits_are_numbered_from_one_without_gaps(store: ObjectStore) -> None:
    log = log_of(store)
    for number in range(3):
        deliver(log, store, f"run-{number}", f"source-{number}")
    assert [commit.number for commit in log.commits()] == [1, 2, 3]
    assert log.last_number() == 3


def test_a_commit_is_read_back_as_it_was_written(store: ObjectStore) -> None:
    log = log_of(store)
    run = begin(log)
    written = log.commit(run, draft(run, stage(store, run), source="s"))
    assert [*log.commits()] == [written] == [log.commit_of(run)]


def test_a_commit_publishes_its_files(store: ObjectStore) -> None:
    log = log_of(store)
    deliver(log, store, "run-1", "s")
    assert (visible(store), in_progress(store)) == (["run-1-a"], [])


def test_a_run_commits_once_however_often_it_is_asked(store: ObjectStore) -> None:
    log = log_of(store)
    run = begin(log)
    plan = draft(run, stage(store, run), source="s")
    assert log.commit(run, plan) == log.commit(run, plan)
    assert log.last_number() == 1


def test_runs_that_race_for_a_number_all_commit_under_their_own(store: ObjectStore) -> None:
    runs = [begin(log_of(store), f"run-{n}") for n in range(6)]

    def commit(run: Run) -> int:
        plan = draft(run, stage(store, run), source=run.run_id)
        return log_of(store).commit(run, plan).number

    with ThreadPoolExecutor(len(runs)) as pool:
        assert sorted(pool.map(commit, runs)) == [1, 2, 3, 4, 5, 6]
    assert len(visible(store)) == 6


def test_of_two_runs_over_one_source_the_second_is_refused(store: ObjectStore) -> None:
    log = log_of(store)
    first, second = begin(log, "first"), begin(log, "second")
    log.commit(first, draft(first, stage(store, first), source="s"))
    with pytest.raises(SourceTaken, match="s: another delivery committed this as number 1"):
        log.commit(second, draft(second, stage(store, second), source="s"))
    log.finish(second)
    assert visible(store) == ["first-a"]


def test_a_commit_between_the_plan_and_the_beginning_of_a_run_is_not_missed(
    store: ObjectStore,
) -> None:
    log = log_of(store)
    planned = log.positions()
    deliver(log, store, "faster", "s")
    run = log.begin("slower", planned.number)
    with pytest.raises(SourceTaken):
        log.commit(run, draft(run, stage(store, run), source="s"))


def test_two_replays_of_one_file_are_refused(store: ObjectStore) -> None:
    log = log_of(store)
    first, second = begin(log, "first"), begin(log, "second")
    log.commit(first, draft(first, removed="errors/date=2026-01-02/x.ndjson"))
    with pytest.raises(SourceTaken, match="the same dead letters"):
        log.commit(second, draft(second, removed="errors/date=2026-01-02/x.ndjson"))


def test_a_commit_takes_away_what_it_replaces(store: ObjectStore) -> None:
    log = log_of(store)
    store.put("errors/date=2026-01-02/x.ndjson", b"{}")
    run = begin(log)
    log.commit(run, draft(run, removed="errors/date=2026-01-02/x.ndjson"))
    assert [*store.list("errors/")] == []


def test_positions_are_those_of_the_last_commit_of_each_source(store: ObjectStore) -> None:
    log = log_of(store)
    for run_id, source, end in (("1", "a", 10), ("2", "b", 20), ("3", "a", 30)):
        deliver(log, store, run_id, source, end)
    known = log.positions()
    assert known.number == 3
    assert {uri: at.resume for uri, at in known.sources.items()} == {"a": 30, "b": 20}
    assert [covered.end for covered in known.sources["a"].ranges] == [10, 30]


def test_a_snapshot_gives_the_positions_that_all_commits_give(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    log = log_of(store)
    for number in range(SNAPSHOT_EVERY + 3):
        run = begin(log, str(number))
        log.commit(run, draft(run, source=f"s{number % 7}", end=number))
    fast = log.positions()
    snapshots = [info.key for info in store.list("_lethe/positions/")]
    for key in snapshots:
        store.delete(key)
    assert (len(snapshots), fast) == (1, log.positions())


def test_with_a_snapshot_only_later_commits_are_read(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    log = log_of(store)
    for number in range(SNAPSHOT_EVERY):
        run = begin(log, str(number))
        log.commit(run, draft(run, source="s", end=number))
    store.put(f"{LOG}{1:020d}.json", b"damaged, and not needed any more")
    assert log.positions().sources["s"].resume == SNAPSHOT_EVERY - 1
    assert begin(log, "next").last_commit == SNAPSHOT_EVERY


def test_the_newest_snapshot_and_one_before_it_are_kept(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    log = log_of(store)
    for number in (1, 2, 3):
        store.put(f"_lethe/positions/{number:020d}.json", b'{"number": 0, "sources": []}')
    for number in range(SNAPSHOT_EVERY):
        run = begin(log, str(number))
        log.commit(run, draft(run))
    kept = [int(info.key[-25:-5]) for info in store.list("_lethe/positions/")]
    assert kept == [3, SNAPSHOT_EVERY]


class Swept(LocalObjectStore):
    """A lake in which another process removes a snapshot just before it is read."""

    def read(self, key: str) -> bytes:
        if key.endswith("2.json"):
            self.delete(key)
        return super().read(key)


def test_a_snapshot_that_is_gone_as_it_is_read_is_passed_over(tmp_path: Path) -> None:
    store = Swept(tmp_path)
    for number in (1, 2):
        store.put(f"_lethe/positions/{number:020d}.json", b'{"number": 7, "sources": []}')
    assert log_of(store).positions().number == 7


def test_a_snapshot_does_not_count_a_later_commit_twice(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    log = log_of(store)
    runs = [begin(log, str(number)) for number in range(SNAPSHOT_EVERY + 1)]
    last = runs.pop()
    for run in runs[:-1]:
        log.commit(run, draft(run, source=run.run_id))
    original = store.publish

    def overtaken(staged: object) -> None:
        store.publish = original  # type: ignore[method-assign]
        log.commit(last, draft(last, source="late"))

    store.publish = overtaken  # type: ignore[method-assign]
    log.commit(runs[-1], draft(runs[-1], source="due"))
    assert len(log.positions().sources["late"].ranges) == 1


def test_recovery_discards_what_a_dead_run_only_staged(store: ObjectStore) -> None:
    stage(store, begin(log_of(store, DEAD)))
    recovery = log_of(store).recover()
    assert (recovery.published, recovery.discarded) == (0, 1)
    assert (visible(store), in_progress(store)) == ([], [])


def test_recovery_publishes_what_a_dead_run_committed(store: ObjectStore) -> None:
    half_published(store, DEAD, published=0)
    recovery = log_of(store).recover()
    assert (recovery.published, recovery.discarded) == (1, 0)
    assert (visible(store), in_progress(store)) == (["run-1-a", "run-1-b"], [])


def test_recovery_publishes_the_rest_of_what_a_dead_run_began_to_publish(
    store: ObjectStore,
) -> None:
    half_published(store, DEAD, published=1)
    log_of(store).recover()
    assert (visible(store), in_progress(store)) == (["run-1-a", "run-1-b"], [])


def test_recovery_clears_what_a_dead_run_staged_beside_its_commit(store: ObjectStore) -> None:
    run = half_published(store, DEAD, published=2)
    stage(store, run, "attempt that another one overtook")
    log_of(store).recover()
    assert (visible(store), in_progress(store)) == (["run-1-a", "run-1-b"], [])


def half_published(store: ObjectStore, owner: Owner, published: int) -> Run:
    """A run that committed two files, published so many of them, and then stopped."""
    run = begin(log_of(store, owner))
    files = [stage(store, run, name) for name in "ab"]
    entry = replace(draft(run, *files, source="s"), number=1)
    store.put_if_absent(f"{LOG}{1:020d}.json", msgspec.json.encode(entry))
    store.publish(file.staged for file in files[:published])
    return run


def test_recovery_leaves_a_live_run_of_this_machine_alone(store: ObjectStore) -> None:
    with alive() as owner:
        run = begin(log_of(store, owner))
        file = stage(store, run)
        assert log_of(store, now=NOW + timedelta(days=9)).recover().waiting == ("run-1",)
        log_of(store, owner).commit(run, draft(run, file, source="s"))
    assert visible(store) == ["run-1-a"]


@contextmanager
def alive() -> Iterator[Owner]:
    """A process that does nothing, as the owner of runs."""
    program = "import sys; sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    yield replace(Owner.this_process(), pid=process.pid, started=stat_of(process.pid)[19])
    process.communicate()


def stat_of(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_a_killed_process_that_nobody_waited_for_counts_as_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    state, started = stat_of(child)[0], stat_of(child)[19]
    zombie = replace(Owner.this_process(), pid=child, started=started)
    assert (state, zombie.is_running()) == ("Z", False)
    os.waitpid(child, 0)


def test_a_live_runs_commit_is_published_by_whoever_recovers(store: ObjectStore) -> None:
    half_published(store, ELSEWHERE, published=1)
    assert log_of(store).recover().waiting == ("run-1",)
    assert visible(store) == ["run-1-a", "run-1-b"]


@pytest.mark.parametrize(("silent", "waits"), [(STALE_AFTER - 5, True), (STALE_AFTER + 5, False)])
def test_a_run_of_another_machine_is_given_up_when_it_is_silent_for_long(
    store: ObjectStore, silent: int, waits: bool
) -> None:
    stage(store, begin(log_of(store, ELSEWHERE)))
    marker = next(iter(store.list("_lethe/runs/")))
    recovery = log_of(store, now=marker.modified + timedelta(seconds=silent)).recover()
    assert (bool(recovery.waiting), recovery.discarded) == (waits, int(not waits))


def test_a_run_that_was_taken_for_dead_cannot_commit_when_it_wakes_up(store: ObjectStore) -> None:
    log = log_of(store, DEAD)
    run = begin(log)
    file = stage(store, run)
    log_of(store).recover()
    with pytest.raises(LakeError, match="took it for dead"):
        log.commit(run, draft(run, file, source="s"))
    assert (log.positions().sources, visible(store)) == ({}, [])


def test_a_run_that_was_taken_for_dead_leaves_nothing_when_it_ends(store: ObjectStore) -> None:
    log = log_of(store, DEAD)
    run = begin(log)
    log_of(store).recover()
    log.heartbeat(run)
    stage(store, run)
    log.finish(run)
    assert in_progress(store) == []


def test_an_abandoned_run_stands_in_the_log_with_nothing(store: ObjectStore) -> None:
    begin(log_of(store, DEAD))
    log_of(store).recover()
    entry = next(log_of(store).commits())
    assert (entry.kind, entry.files, entry.sources, entry.counts["read"]) == (ABANDONED, (), (), 0)


def test_abandoning_a_run_that_has_committed_publishes_it(store: ObjectStore) -> None:
    run = half_published(store, DEAD, published=0)
    assert log_of(store).abandon(run) is False
    assert visible(store) == ["run-1-a", "run-1-b"]


def test_staging_that_has_lost_its_marker_is_cleared(store: ObjectStore) -> None:
    log = log_of(store)
    run = begin(log)
    log.finish(run)
    stage(store, run, "by a worker that did not know yet")
    log.recover()
    assert in_progress(store) == []


def test_what_was_published_is_not_looked_at_again_when_its_run_ends(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, published = log_of(store), list[object]()
    publish = store.publish
    monkeypatch.setattr(store, "publish", lambda some: published.append(publish(some)))
    run = begin(log)
    log.commit(run, draft(run, stage(store, run)))
    log.finish(run)
    assert len(published) == 1
    assert (visible(store), in_progress(store)) == (["run-1-a"], [])


@pytest.mark.parametrize("area", ["enrich-0123456789abcdef", "5f" * 16])
def test_staging_of_what_is_no_run_is_left_to_its_own(store: ObjectStore, area: str) -> None:
    writer = store.stage("contacts.csv", area)
    writer.write(b"x" * 10)
    staged = writer.close()
    log_of(store).recover()
    store.publish([staged])
    assert store.read("contacts.csv") == b"x" * 10


def test_a_late_recovery_does_not_miss_what_a_replay_has_taken_away(store: ObjectStore) -> None:
    run = half_published(store, DEAD, published=2)
    log = log_of(store)
    letters = next(log.commits()).files[0].path
    later = log.begin("replay", 1)
    log.commit(later, draft(later, removed=letters))
    log.finish(later)
    assert log.recover().published == 1
    assert visible(store) == ["run-1-b"]
    assert run.run_id not in str(in_progress(store))


@pytest.mark.parametrize("content", [b"", b"{", b'{"number": "one"}', b"\xff\xfe"])
def test_a_damaged_log_entry_is_named(store: ObjectStore, content: bytes) -> None:
    key = f"{LOG}{1:020d}.json"
    store.put(key, content)
    with pytest.raises(LakeError, match=key):
        log_of(store).positions()


def test_a_file_that_is_no_log_entry_is_named(store: ObjectStore) -> None:
    store.put(f"{LOG}notes.txt", b"hello")
    with pytest.raises(LakeError, match=r"_lethe/log/notes\.txt"):
        log_of(store).last_number()


def test_a_damaged_marker_is_named(store: ObjectStore) -> None:
    store.put("_lethe/runs/x.json", b"?")
    with pytest.raises(LakeError, match=r"_lethe/runs/x\.json"):
        log_of(store).recover()


def deliver_all(log: DeliveryLog, store: ObjectStore, run_id: str, source: str) -> None:
    deliver(log, store, run_id, source, end=int(run_id) + 1)


def die_staged(log: DeliveryLog, store: ObjectStore, run_id: str, source: str) -> None:
    stage(store, begin(log, run_id))


def die_committed(log: DeliveryLog, store: ObjectStore, run_id: str, source: str) -> None:
    run = begin(log, run_id)
    file = stage(store, run)
    entry = replace(draft(run, file, source=source, end=int(run_id) + 1), number=0)
    number = log.last_number() + 1
    store.put(f"{LOG}{number:020d}.json", msgspec.json.encode(replace(entry, number=number)))


def die_published(log: DeliveryLog, store: ObjectStore, run_id: str, source: str) -> None:
    run = begin(log, run_id)
    file = stage(store, run)
    log.commit(run, draft(run, file, source=source, end=int(run_id) + 1))


def recover(log: DeliveryLog, store: ObjectStore, run_id: str, source: str) -> None:
    DeliveryLog(store).recover()


Step = Callable[[DeliveryLog, ObjectStore, str, str], None]
STEPS: list[Step] = [deliver_all, die_staged, die_committed, die_published, recover]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("abc")), max_size=12))
def test_after_any_history_positions_and_visible_files_tell_the_same(
    history: list[tuple[Step, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = LocalObjectStore(folder)
        expected: dict[str, list[str]] = {}
        for number, (step, source) in enumerate(history):
            step(DeliveryLog(store, DEAD), store, str(number), source)
            if step not in {die_staged, recover}:
                expected[source] = [*expected.get(source, []), str(number)]
        DeliveryLog(store).recover()
        sources = DeliveryLog(store).positions().sources
        assert {s: int(runs[-1]) + 1 for s, runs in expected.items()} == {
            uri: at.resume for uri, at in sources.items()
        }
        assert visible(store) == sorted(f"{run}-a" for runs in expected.values() for run in runs)
        assert in_progress(store) == []


SHARD = "kinesis://eu-west-1/changes/shardId-000000000000"
SALES = Portion("sale", "2026-01-02", 0, 300, "UTC")


def round_of(run: Run, after: str | None, last: str | None, *files: DataFile) -> Commit:
    """The commit of a round that read a stretch of a shard."""
    return replace(draft(run, *files), shards=(ShardRange(SHARD, after, last, NOW),))


def test_rounds_over_different_stretches_of_a_shard_follow_each_other(store: ObjectStore) -> None:
    log = log_of(store)
    for after, last in ((None, "10"), ("10", "25"), ("25", None)):
        run = begin(log, f"run-{last}")
        log.commit(run, round_of(run, after, last))
    through = log.positions().shards[SHARD].through
    assert through == ShardRange(SHARD, None, "25", NOW)


def test_of_two_rounds_over_the_same_records_the_second_is_refused(store: ObjectStore) -> None:
    log = log_of(store)
    first, second = begin(log, "first"), begin(log, "second")
    log.commit(first, round_of(first, None, "10"))
    with pytest.raises(SourceTaken, match="shardId-000000000000"):
        log.commit(second, round_of(second, None, "12"))


def streamed(log: DeliveryLog, store: ObjectStore, run: Run, after: str | None, last: str) -> None:
    """A commit of a stream without end, with one file."""
    committer = StreamCommitter(store, run, clock=lambda: NOW)
    committer.start()
    staged = stage(store, replace(run, run_id=staging_name(run.run_id, NOW)), last)
    pane = StagedPane(SALES, (Stretch(SHARD, after, last),), (staged,), Counts(delivered=1), NOW)
    committer.commit([pane], {})


def test_a_round_over_records_that_a_stream_has_delivered_meanwhile_is_refused(
    store: ObjectStore,
) -> None:
    log = log_of(store)
    stream = log.begin("stream", 0, STREAM)
    run = begin(log, "round")
    streamed(log, store, stream, "4", "8")
    with pytest.raises(SourceTaken, match="shardId-000000000000"):
        log.commit(run, round_of(run, None, "6"))
    log.commit(run, round_of(run, None, "4"))


def test_a_stream_commits_again_and_again(store: ObjectStore) -> None:
    log = log_of(store)
    run = log.begin("stream", 0, STREAM)
    streamed(log, store, run, None, "5")
    streamed(log, store, run, "5", "9")
    assert [commit.kind for commit in log.commits()] == [STREAM, STREAM]
    assert log.positions().shards[SHARD].of(SALES) == Stretches.of((-1, 9))
    assert len(visible(store)) == 2


def test_a_snapshot_keeps_what_streams_have_delivered(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    log = log_of(store)
    stream = log.begin("stream", 0, STREAM)
    streamed(log, store, stream, "4", "8")
    for number in range(1, SNAPSHOT_EVERY):
        run = begin(log, str(number))
        log.commit(run, draft(run))
    run = begin(log, "round")
    log.commit(run, round_of(run, None, "2"))
    fast = log.positions()
    (snapshot,) = store.list("_lethe/positions/")
    store.delete(snapshot.key)
    assert fast == log.positions()
    assert fast.shards[SHARD].delivered == {SALES: Stretches.of((4, 8))}


def test_recovery_leaves_the_stream_of_a_cluster_alone_while_it_gives_signs_of_life(
    store: ObjectStore,
) -> None:
    run = log_of(store, Owner.elsewhere("flink")).begin("stream", 0, STREAM)
    stage(store, replace(run, run_id=staging_name("stream", NOW)))
    marker = next(iter(store.list("_lethe/runs/")))
    assert log_of(store, now=marker.modified).recover().waiting == ("stream",)
    assert len(in_progress(store)) == 2


def test_recovery_ends_a_stream_that_is_dead_and_publishes_what_it_committed(
    store: ObjectStore,
) -> None:
    run = log_of(store, DEAD).begin("stream", 0, STREAM)
    area = replace(run, run_id=staging_name("stream", NOW))
    committed, _ = stage(store, area, "committed"), stage(store, area, "not")
    entry = replace(draft(run, committed), number=1, kind=STREAM)
    store.put(f"{LOG}{1:020d}.json", msgspec.json.encode(entry))
    assert log_of(store).recover().published == 1
    assert [name.partition("-")[2] for name in visible(store)] == ["committed"]
    assert (in_progress(store), [*log_of(store).commits()][-1].kind) == ([], ABANDONED)


def test_a_shard_has_ended_when_it_is_delivered_to_its_end(store: ObjectStore) -> None:
    log, said = log_of(store), []
    for last, ended in (("10", False), ("20", True)):
        run = begin(log, f"run-{last}")
        part = ShardRange(SHARD, None, last, NOW, ended)
        log.commit(run, replace(draft(run), shards=(replace(part, after=str(int(last) - 10)),)))
        said.append(LogSaysEnded(store)(SHARD))
    assert (said, LogSaysEnded(store)("another")) == ([False, True], False)


def test_what_a_stream_staged_hours_ago_is_cleared(store: ObjectStore) -> None:
    log = log_of(store)
    run = log.begin("stream", 0, STREAM)
    for hours in (0, 6):
        stage(store, replace(run, run_id=staging_name("stream", NOW - timedelta(hours=hours))))
    streamed(log, store, run, None, "5")
    log.sweep(run)
    left = {area.split("/")[2] for area in in_progress(store) if "staging" in area}
    assert left == {staging_name("stream", NOW)}


def test_entries_written_before_there_were_streams_are_read(store: ObjectStore) -> None:
    run = Run("old", Owner("h", 1, "1"), 0)
    entry = msgspec.to_builtins(replace(draft(run, source="s"), number=1))
    del entry["shards"], entry["streamed"]
    store.put(f"{LOG}{1:020d}.json", msgspec.json.encode(entry))
    known = log_of(store).positions()
    assert (set(known.sources), known.shards) == ({"s"}, {})
