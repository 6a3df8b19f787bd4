"""The delivery log: one numbered JSON file a commit, in ``_lethe/log/`` of the lake.

A commit says which files became part of the lake, up to where each source was read for them, and
what became of every record. It is created only if its number is free, so of two deliveries that
race for a number one wins; the loser looks at what the winner did and takes the next number, or
gives up if both read the same source.

    stage files ──> create commit N (if absent) ──> publish its files ──> remove the run's marker
         │                    │                            │
      a death here:        a death here:               a death here:
      no commit names      the commit stands,          some files are published,
      the files; they      nothing is visible          publishing again does the
      are discarded                                    rest

``recover`` mends all three: every run leaves a marker in ``_lethe/runs/`` before it stages
anything, and a marker whose process is gone tells of a run to be finished or cleared.

A run is cleared only after an entry of the log says that it is **abandoned**. That entry takes the
number that the run would have to take, so a process that was only paused, or that is not quite
dead, finds it there and cannot commit files that have been cleared meanwhile.

A run that reads a stream without end commits again and again (``stores.stream_log``).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec

from schemas.errors import LakeError, ObjectExists, ObjectMissing
from stores.log_conflicts import (
    FilesTaken,
    SourceTaken,
    files_taken,
    refuse_overlap,
    replaces,
    taken_files,
)
from stores.log_entries import (
    ABANDONED,
    COMPACT,
    ERASE,
    LOG,
    STREAM,
    SUPPRESS,
    Commit,
    DataFile,
    bare_entry,
    decode_as,
    log_key,
    number_of,
)
from stores.objects.keys import STAGING
from stores.objects.port import ObjectStore
from stores.owners import Owner
from stores.positions import Cleanliness, Positions, Snapshot, positions_after, snapshot_of
from stores.publishing import Publisher

__all__ = [
    "ABANDONED",
    "COMPACT",
    "ERASE",
    "LOG",
    "STREAM",
    "SUPPRESS",
    "Commit",
    "DataFile",
    "DeliveryLog",
    "FilesTaken",
    "Owner",
    "Positions",
    "Recovery",
    "Run",
    "SourceTaken",
    "new_run_id",
    "staging_name",
]

RUNS = "_lethe/runs/"
SNAPSHOTS = "_lethe/positions/"

SNAPSHOT_EVERY = 50
"""Commits between two snapshots of all positions, which bound what a start has to read."""

_SNAPSHOTS_KEPT = 2
"""The newest, and the one that somebody may be about to read."""

STALE_AFTER = 15 * 60
"""Seconds without a heartbeat after which a run on another machine is taken for dead."""

CLOCKS_DIFFER = timedelta(minutes=15)
"""How far the clocks of machines and stores may differ."""

_AREA_TIME = "%Y%m%dT%H"
_NO_RUNS = re.compile("enrich-[0-9a-f]+|[0-9a-f]{32}")
"""Areas of enrichments, exports and uploads: no runs of the log, and cleared by their own."""

_AREA_KEPT = timedelta(hours=2)
"""How long after its beginning an hour's staging area may hold what is yet to be committed."""


@dataclass(frozen=True)
class Run:
    """A run's marker: who does it, and the last commit there was when it began.

    ``kind`` is ``STREAM`` for a run that commits again and again, that of its entry for one that
    brings no new rows, and empty for a round of a delivery or a replay.
    ``is_ending`` says that one is about to get, or has, an entry of its end in the log.
    """

    run_id: str
    owner: Owner
    last_commit: int
    kind: str = ""
    is_ending: bool = False


@dataclass(frozen=True)
class Recovery:
    """What ``recover`` found and did."""

    published: int = 0
    discarded: int = 0
    waiting: tuple[str, ...] = ()
    """Runs that are alive, or on another machine and not silent for long enough."""


class DeliveryLog:
    """The log of one lake."""

    def __init__(
        self,
        store: ObjectStore,
        owner: Owner | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._publisher = Publisher(store, self.following)
        self.owner = owner or Owner.this_process()
        self._clock = clock
        self._published = set[str]()  # runs whose entry was published here, and that have not ended

    def commits(self, after: int = 0) -> Iterator[Commit]:
        """Commits with a number above ``after``, in order. Raises ``LakeError`` on a bad one."""
        start = log_key(after) if after else ""
        keys = (info.key for info in self._store.list(LOG, start_after=start))
        for key, content in self._store.read_each(keys):
            yield decode_as(Commit, key, content)

    def last_number(self) -> int:
        """The number of the newest commit, 0 if there is none."""
        snapshot = self._snapshot()
        number = 0 if snapshot is None else snapshot.number
        start = log_key(number) if number else ""
        for info in self._store.list(LOG, start_after=start):
            number = number_of(info.key)
        return number

    def positions(self) -> Positions:
        """How far every source has been delivered. Raises ``LakeError`` on a bad log entry."""
        snapshot = self._snapshot()
        number = 0 if snapshot is None else snapshot.number
        return positions_after(snapshot, self.commits(after=number))

    def cleanliness_since(self, known: Positions) -> Cleanliness:
        """Who is suppressed, and what is owed a look, by the entries up to now."""
        now = Cleanliness(known.suppressions, known.owed)
        for commit in self.following(known.number):
            now = now.after(commit)
        return now

    def following(self, number: int) -> Iterator[Commit]:
        """Commits after ``number``, in order; cheap to ask for when there are few or none.

        Numbers have no gaps, so the next ones are asked for by name and nothing is listed.
        """
        while True:
            number += 1
            key = log_key(number)
            try:
                content = self._store.read(key)
            except ObjectMissing:
                return
            yield decode_as(Commit, key, content)

    def begin(self, run_id: str, last_commit: int, kind: str = "") -> Run:
        """Leave the run's marker. Call before anything is staged.

        ``last_commit`` is the newest commit that the run's plan knows of; what is committed after
        it is compared with what the run did. ``kind`` is as ``Run`` has it.
        """
        run = Run(run_id, self.owner, last_commit, kind)
        self._store.put(_run_key(run_id), msgspec.json.encode(run))
        return run

    def heartbeat(self, run: Run) -> None:
        """Say that the run is alive, for those who cannot see its process."""
        self._store.put(_run_key(run.run_id), msgspec.json.encode(run))

    def finish(self, run: Run) -> None:
        """End a run, committed or not: publish what it committed, clear what else it staged.

        Only for a run that can no longer commit; ``abandon`` is for any other.
        """
        if run.run_id not in self._published:
            self._publish_committed(run)
        for area in {run.run_id, *self._areas(run)}:
            self._store.clear_staging(area)
        self._store.delete(_run_key(run.run_id))
        self._published.discard(run.run_id)

    def abandon(self, run: Run) -> bool:
        """End a run that may not know it yet; whether that was before it committed.

        From then on it cannot commit, even if it is alive. Every run without end is ended so, and
        counts as one that has committed.
        """
        nothing = bare_entry(run.run_id, ABANDONED, self._clock())
        if run.kind == STREAM:
            self._end_stream(run, nothing)
            return False
        entry = self._append(run, nothing)
        self.finish(run)
        return entry.kind == ABANDONED

    def _end_stream(self, run: Run, entry: Commit) -> None:
        # Said first: who begins to commit now, either reads it or finds the entry later.
        self.heartbeat(replace(run, is_ending=True))
        # Where the run began may be long ago, and what it committed is no entry of its end.
        self._append(replace(run, last_commit=self.last_number()), entry)
        self.finish(run)

    def open_runs(self) -> set[str]:
        """The ids of runs that have begun and not ended, whether they have committed or not."""
        return {_run_id_of(info.key) for info in self._store.list(RUNS)}

    def rounds_under_way(self) -> set[str]:
        """The ids of open runs that bring new rows, and will end by themselves."""
        return {run.run_id for run in self._rounds() if not run.kind}

    def oldest_beginning(self) -> int | None:
        """The commit that the oldest run that will end began from; None if none is under way."""
        return min((run.last_commit for run in self._rounds()), default=None)

    def _rounds(self) -> Iterator[Run]:
        markers = (self._marker(info.key) for info in list(self._store.list(RUNS)))
        return (run for run in markers if run is not None and run.kind != STREAM)

    def is_open(self, run: Run) -> bool:
        """Whether a run has a marker, and nobody has begun to end it."""
        marker = self._marker(_run_key(run.run_id))
        return marker is not None and not marker.is_ending

    def _marker(self, key: str) -> Run | None:
        """None if the run has ended meanwhile."""
        try:
            run: Run = decode_as(Run, key, self._store.read(key))
        except ObjectMissing:
            return None
        return run

    def commit_of(self, run: Run) -> Commit | None:
        """The commit that a run made; None if it had nothing to commit."""
        found = (commit for commit in self.commits(after=run.last_commit))
        return next((commit for commit in found if commit.run_id == run.run_id), None)

    def commit(self, run: Run, draft: Commit) -> Commit:
        """Append ``draft`` under the next free number, and publish its files.

        Called again for a run that has committed already, it returns that commit. Raises
        ``SourceTaken`` if another delivery has covered one of its sources since the commit that
        ``run`` began from, ``FilesTaken`` if files that an erasure or a compaction is made of have
        been replaced since then, and ``LakeError`` if the run was taken for dead meanwhile. After
        ``FilesTaken`` the run may commit again, less these files.
        """
        self._store.settle(run.run_id)
        commit = self._append(run, draft)
        if commit.kind == ABANDONED:
            raise LakeError(
                f"run {run.run_id} was silent for so long that another one took it for dead and "
                "cleared its files: nothing was delivered: run again"
            )
        self.publish(commit)
        if run.kind != STREAM:
            self._published.add(run.run_id)
        self.snapshot_if_due(commit)
        return commit

    def publish(self, commit: Commit) -> None:
        """Make visible what an entry brings, and remove what it takes away. Idempotent.

        What entries after it have replaced or removed is left as it is.
        """
        self._publisher.publish(commit)

    def conflicts(self, commit: Commit) -> tuple[str, ...]:
        """Paths of an erasure's entry that were not replaced or removed, after it was published.

        Others than Lethe had changed these files since they were read, and they are as those left
        them: to be read again, by another run. Told from what is there now, so a process that goes
        on where another was killed may ask too. No conflict is what a later entry has replaced.
        """
        return self._publisher.conflicts(commit)

    def published_up_to(self) -> int:
        """Publish what open runs have committed; the number up to which all entries are published.

        For runs that make files anew of what they find: a file that is as an entry before theirs
        says must not be one that the entry has yet to replace, or to remove.
        """
        number = self.last_number()  # read first: what is committed later is told by its conflict
        self.recover()
        return number

    def recover(self) -> Recovery:
        """Finish or clear the runs whose process is gone; publish what others have committed."""
        # Staging is looked at first: what lies there without a marker then has lost it for good.
        areas = {area for area in self._staging_areas() if not _NO_RUNS.fullmatch(area)}
        result = Recovery()
        for info in list(self._store.list(RUNS)):
            run_id = _run_id_of(info.key)
            areas = {area for area in areas if _run_of(area) != run_id}
            run = self._marker(info.key)
            if run is not None:
                result = self._recover_run(run, info.modified, result)
        for area in areas:
            self._store.clear_staging(area)
        return result

    def _recover_run(self, run: Run, seen: datetime, result: Recovery) -> Recovery:
        if self._may_be_alive(run, seen):
            self._publish_committed(run)
            return replace(result, waiting=(*result.waiting, run.run_id))
        if self.abandon(run):
            return replace(result, discarded=result.discarded + 1)
        return replace(result, published=result.published + 1)

    def append(self, commit: Commit) -> None:
        """Write an entry under its number. Raises ``ObjectExists`` if that is taken."""
        self._store.put_if_absent(log_key(commit.number), msgspec.json.encode(commit))

    def _append(self, run: Run, draft: Commit) -> Commit:
        """Write ``draft`` as the run's one entry of the log; the entry it has, if there is one."""
        number, taken = run.last_commit, set[str]()
        while True:
            for other in self.commits(after=number):
                if other.run_id == run.run_id and other.kind != STREAM:
                    return other
                taken |= _taken_by(other, draft)
                number = other.number
            if taken:
                raise files_taken(run.run_id, taken)
            commit = replace(draft, number=number + 1, committed_at=self._clock())
            try:
                self.append(commit)
            except ObjectExists:
                continue
            return commit

    def _staging_areas(self) -> set[str]:
        staged = self._store.list(f"{STAGING}/")
        return {info.key.removeprefix(f"{STAGING}/").partition("/")[0] for info in staged}

    def _may_be_alive(self, run: Run, seen: datetime) -> bool:
        if run.owner == self.owner:
            return True
        if run.owner.is_here():
            return run.owner.is_running()
        return (self._clock() - seen).total_seconds() < STALE_AFTER

    def _publish_committed(self, run: Run) -> None:
        if run.kind == STREAM:
            self.publish_staged(run)
        elif (commit := self.commit_of(run)) is not None:
            self.publish(commit)

    def publish_staged(self, run: Run) -> None:
        """Publish what a run without end has committed and not published.

        A file is committed after it was staged, so commits are looked at from the newest one down
        to the hour of the oldest area with something in it.
        """
        areas = self._areas(run)
        if not areas:
            return
        tokens = {staged.token for area in areas for staged in self._store.list_staged(area)}
        oldest = min(map(_begin_of, areas)) - CLOCKS_DIFFER
        for commit in self._backwards(run.last_commit):
            if commit.committed_at < oldest:
                break
            self._publisher.publish_staged(commit, tokens)

    def sweep(self, run: Run) -> None:
        """Clear what a run without end has staged long ago and never committed.

        Nothing staged before so long can be committed any more: whoever would, finds that the log
        has got longer, and looks at the age of the files again.
        """
        number = self.last_number()
        newest = next(self._backwards(number - 1), None) if number else None
        for area in self._areas(run):
            if newest is not None and _begin_of(area) + 2 * _AREA_KEPT < newest.committed_at:
                self._store.clear_staging(area)

    def _areas(self, run: Run) -> list[str]:
        """The staging areas of a run in which there is something."""
        return [area for area in self._staging_areas() if _run_of(area) == run.run_id]

    def _backwards(self, down_to: int) -> Iterator[Commit]:
        """Commits from the newest one down to that after ``down_to``."""
        for number in range(self.last_number(), down_to, -1):
            key = log_key(number)
            yield decode_as(Commit, key, self._store.read(key))

    def _snapshot(self) -> Snapshot | None:
        for key in reversed(self._snapshot_keys()):
            with suppress(ObjectMissing):  # since then there is a newer one: it would serve as well
                snapshot: Snapshot = decode_as(Snapshot, key, self._store.read(key))
                return snapshot
        return None

    def _snapshot_keys(self) -> list[str]:
        return [info.key for info in self._store.list(SNAPSHOTS)]

    def snapshot_if_due(self, commit: Commit) -> None:
        """Write down all positions if so many commits have been made; few of them are kept.

        Each holds all that those before it do, so together they would outgrow the log.
        """
        if commit.number % SNAPSHOT_EVERY:
            return
        positions = self.positions()
        key = f"{SNAPSHOTS}{positions.number:020d}.json"
        self._store.put(key, msgspec.json.encode(snapshot_of(positions)))
        for old in self._snapshot_keys()[:-_SNAPSHOTS_KEPT]:
            self._store.delete(old)


def staging_name(run_id: str, now: datetime) -> str:
    """The area in which a run without end stages its files: another one every hour.

    So what was abandoned is told from what is on its way by the area's name.
    """
    return f"{run_id}~{now.astimezone(UTC):{_AREA_TIME}}"


def _run_of(area: str) -> str:
    return area.partition("~")[0]


def _begin_of(area: str) -> datetime:
    return datetime.strptime(area.partition("~")[2], _AREA_TIME).replace(tzinfo=UTC)


def _taken_by(other: Commit, draft: Commit) -> set[str]:
    """Files of a draft that were taken from it. Raises ``SourceTaken`` for one of a delivery."""
    if replaces(draft):
        return taken_files(draft, other)
    refuse_overlap(draft, other)
    return set()


def _run_key(run_id: str) -> str:
    return f"{RUNS}{run_id}.json"


def _run_id_of(key: str) -> str:
    return key.removeprefix(RUNS).removesuffix(".json")


def new_run_id(now: datetime) -> str:
    """A run's name: sorts by time and does not collide."""
    return (
        f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{os.getpid():x}-{time.monotonic_ns() & 0xFFFFFF:06x}"
    )
