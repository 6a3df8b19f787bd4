"""Commits of a stream without end: many of one run, where the log decides what is new.

An engine may repeat anything since its last checkpoint, in other blocks and other files, and what
it gave up may still be running. So nothing is believed of what comes in: rows count as delivered if
the log says so, and a commit takes only what no commit before it has delivered::

    this attempt               the log                     one that was given up
    staged sale (40, 90]       number 7
      |                        number 8  <── create ────── staged sale (40, 70]
      |── create 8: taken
      |── read 8: (40, 70] is delivered, (70, 90] is not: the file is of no use
      └── StreamOvertaken: the engine repeats; the writer now leaves (40, 70] out

A file that is delivered wholly by others is dropped, and needs no repeating. Files that are staged
and not committed are never part of what an engine keeps, or a repetition would find them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from schemas.delivery import Counts, summary
from schemas.erasure import SuppressionRef
from schemas.errors import LakeError, ObjectExists
from schemas.stream_ledger import Advance, Ledger
from schemas.stream_log import Portion, ShardState, Streamed, Stretch, Stretches, by_source, fold
from schemas.streams import ShardRange
from stores.log import ABANDONED, STREAM, Commit, DataFile, DeliveryLog, Run
from stores.objects.port import ObjectStore, StagedObject
from stores.positions import Cleanliness

COMMIT_WITHIN = timedelta(minutes=30)
"""How long after it was staged a file may be committed; much later it may have been cleared."""

QUIET_PROGRESS = timedelta(minutes=5)
"""How often it is written down that a shard was read and held nothing."""

BEAT_EVERY = timedelta(minutes=1)
SWEEP_EVERY = timedelta(hours=1)


class StreamOvertaken(LakeError):
    """Others have delivered a part of this meanwhile; what is left has to be made anew."""

    code = "stream_overtaken"
    http_status = 409
    retryable = True


@dataclass(frozen=True)
class StagedPane:
    """Rows of one portion that are staged, and the stretches of which they are all there is.

    There may be no files: if all rows were repeats of others, only the stretches count. ``relies``
    are stretches of the same portion whose rows must be delivered by the time this is, because it
    leaves out repeats of theirs. ``late`` counts rows later than the allowed lateness. ``indexes``
    hold the subject indexes of the files, and ``knows`` is the newest suppression that was heeded.
    """

    portion: Portion
    stretches: tuple[Stretch, ...]
    files: tuple[DataFile, ...]
    counts: Counts
    staged_at: datetime
    late: int = 0
    relies: tuple[Stretch, ...] = ()
    indexes: tuple[StagedObject, ...] = ()
    knows: int = 0


class StreamView:
    """What the log says of shards, brought up to date at the cost of what is new in it."""

    def __init__(self, log: DeliveryLog) -> None:
        self._log = log
        self._states: dict[str, ShardState] | None = None
        self._number = 0
        self._cleanliness = Cleanliness()

    @property
    def suppressions(self) -> tuple[SuppressionRef, ...]:
        """Lists of suppressed subjects, oldest first; as of the last ``catch_up``."""
        return self._cleanliness.suppressions

    @property
    def cleanliness(self) -> Cleanliness:
        """Who is suppressed, and which commits may hold their rows; as of then, too."""
        return self._cleanliness

    @property
    def states(self) -> Mapping[str, ShardState]:
        """By source; as of the last ``catch_up``."""
        return self._states or {}

    @property
    def number(self) -> int:
        return self._number

    def catch_up(self) -> list[Commit]:
        """Take in what was committed since the last time; at the first time, since ever.

        Returns those commits, but none at the first time.
        """
        if self._states is None:
            known = self._log.positions()
            self._states, self._number = dict(known.shards), known.number
            self._cleanliness = Cleanliness(known.suppressions, known.owed)
            return []
        new = []
        for commit in self._log.following(self._number):
            self.take(commit)
            new.append(commit)
        return new

    def take(self, commit: Commit) -> None:
        """Take in the commit after the last one."""
        assert self._states is not None
        fold(self._states, commit.shards, commit.streamed)
        self._number = commit.number
        self._cleanliness = self._cleanliness.after(commit)


@dataclass(frozen=True)
class LogSaysEnded:
    """Says of a shard, by source, whether the log has it to its end. Picklable."""

    store: ObjectStore

    def __call__(self, source: str) -> bool:
        through = DeliveryLog(self.store).positions().shards.get(source, ShardState()).through
        return through is not None and through.ended


class StreamCommitter:
    """Makes the commits of one run without end. One of an attempt at a time; a lake may have many.

    ``start`` comes first. After an error make another one: this one does not know what was done.
    """

    def __init__(
        self,
        store: ObjectStore,
        run: Run,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._run = run
        self._clock = clock
        self._log = DeliveryLog(store, run.owner, clock)
        self._view = StreamView(self._log)
        self._beaten = self._swept = datetime.min.replace(tzinfo=UTC)

    def start(self) -> None:
        """Finish what an earlier attempt has committed and not published.

        Raises ``LakeError`` if the run has been ended.
        """
        self._log.publish_staged(self._run)
        self._view.catch_up()
        if not self._log.is_open(self._run):
            raise self._ended()

    @property
    def states(self) -> Mapping[str, ShardState]:
        """What the log says of shards; as of the last commit."""
        return self._view.states

    def commit(
        self, panes: Sequence[StagedPane], ledgers: Mapping[str, Ledger], is_due: bool = True
    ) -> Commit | None:
        """Append what is new of ``panes`` and how far shards are delivered; publish the files.

        None if there is nothing new. ``is_due`` says that it is worth a commit if shards have
        only got further. Raises ``StreamOvertaken`` if a pane is delivered in part, and
        ``LakeError`` if the run was taken for dead meanwhile.
        """
        for area in {file.staged.run_id for pane in panes for file in pane.files}:
            self._store.settle(area)
        while True:
            self._catch_up()
            draft, dropped = self._draft(panes, ledgers, is_due)
            if draft is None or self._appended(draft):
                break
        self._discard(dropped)
        self._keep_house(draft)
        return draft

    def _catch_up(self) -> None:
        for commit in self._view.catch_up():
            if commit.run_id != self._run.run_id:
                continue
            if commit.kind == ABANDONED:
                raise self._ended()
            # Whoever made it may be gone; publishing twice does no harm.
            self._log.publish(commit)

    def _ended(self) -> LakeError:
        return LakeError(
            f"run {self._run.run_id} has been ended: it was silent for too long, or was stopped: "
            "start the delivery again, it goes on from the log"
        )

    def _draft(
        self, panes: Sequence[StagedPane], ledgers: Mapping[str, Ledger], is_due: bool
    ) -> tuple[Commit | None, list[StagedPane]]:
        now = self._clock()
        _refuse_stale(panes, now)
        chosen, dropped, states = choose(self._view.states, panes)
        advances = [*_advances(ledgers, states)]
        if not chosen and not (is_due and _is_worth_it(advances, states)):
            return None, dropped
        return self._commit_of(chosen, advances, states, now), dropped

    def _commit_of(
        self,
        chosen: Sequence[StagedPane],
        advances: Sequence[Advance],
        states: Mapping[str, ShardState],
        now: datetime,
    ) -> Commit:
        return Commit(
            number=self._view.number + 1,
            run_id=self._run.run_id,
            kind=STREAM,
            committed_at=now,
            files=tuple(sorted(_files(chosen), key=lambda file: file.path)),
            sources=(),
            counts=_counts(chosen, advances),
            shards=tuple(_from_place(advance.reached, states) for advance in advances),
            streamed=tuple(Streamed(pane.portion, pane.stretches) for pane in chosen),
            indexes=tuple(index for pane in chosen for index in pane.indexes),
            knows=min((pane.knows for pane in chosen), default=0),
        )

    def _appended(self, draft: Commit) -> bool:
        try:
            self._log.append(draft)
        except ObjectExists:
            return False
        self._log.publish(draft)
        self._view.take(draft)
        return True

    def _discard(self, dropped: Iterable[StagedPane]) -> None:
        for pane in dropped:
            for staged in (*(file.staged for file in pane.files), *pane.indexes):
                self._store.discard(staged)

    def _keep_house(self, made: Commit | None) -> None:
        now = self._clock()
        if made is not None:
            self._log.snapshot_if_due(made)
        if now - self._beaten >= BEAT_EVERY and self._log.is_open(self._run):
            self._log.heartbeat(self._run)
            self._beaten = now
        if now - self._swept >= SWEEP_EVERY:
            self._log.sweep(self._run)
            self._swept = now


def choose(
    known: Mapping[str, ShardState], panes: Iterable[StagedPane]
) -> tuple[list[StagedPane], list[StagedPane], Mapping[str, ShardState]]:
    """Panes to commit, panes that are delivered already, and the states after the commit.

    Raises ``StreamOvertaken`` if a pane is delivered in part, or leaves out repeats of rows that
    are not delivered.
    """
    states = dict(known)
    chosen: list[StagedPane] = []
    dropped: list[StagedPane] = []
    for pane in panes:
        missing = {s: own - _delivered(states, s, pane) for s, own in _own(pane).items()}
        if not any(missing.values()):
            dropped.append(pane)
        elif missing == _own(pane):
            chosen.append(pane)
            fold(states, (), [Streamed(pane.portion, pane.stretches)])
        else:
            raise _overtaken("a part of these rows was delivered by another attempt")
    _refuse_unfounded(chosen, states)
    return chosen, dropped, states


def _own(pane: StagedPane) -> dict[str, Stretches]:
    return by_source(pane.stretches)


def _delivered(states: Mapping[str, ShardState], source: str, pane: StagedPane) -> Stretches:
    return states.get(source, ShardState()).of(pane.portion)


def _refuse_unfounded(chosen: Iterable[StagedPane], states: Mapping[str, ShardState]) -> None:
    for pane in chosen:
        for source, stretches in by_source(pane.relies).items():
            if stretches - _delivered(states, source, pane):
                raise _overtaken("rows that others repeat are not delivered yet")


def _refuse_stale(panes: Iterable[StagedPane], now: datetime) -> None:
    if any(now - pane.staged_at > COMMIT_WITHIN for pane in panes):
        raise _overtaken("files were staged so long ago that they may have been cleared")


def _overtaken(why: str) -> StreamOvertaken:
    return StreamOvertaken(f"{why}: nothing is lost, it is made anew from the last checkpoint")


def _advances(ledgers: Mapping[str, Ledger], states: Mapping[str, ShardState]) -> Iterator[Advance]:
    for source, ledger in sorted(ledgers.items()):
        advance = ledger.advance(states.get(source, ShardState()))
        if advance is not None:
            yield advance


def _is_worth_it(advances: Iterable[Advance], states: Mapping[str, ShardState]) -> bool:
    """Whether a shard has got further, or has been quiet for so long that this is news."""
    return any(_is_news(advance.reached, states) for advance in advances)


def _is_news(reached: ShardRange, states: Mapping[str, ShardState]) -> bool:
    through = states.get(reached.source, ShardState()).through
    if through is None or (reached.last, reached.ended) != (through.last, through.ended):
        return True
    return reached.until - through.until >= QUIET_PROGRESS


def _from_place(reached: ShardRange, states: Mapping[str, ShardState]) -> ShardRange:
    through = states.get(reached.source, ShardState()).through
    return replace(reached, after=None if through is None else through.last)


def _files(panes: Iterable[StagedPane]) -> Iterator[DataFile]:
    for pane in panes:
        yield from pane.files


def _counts(chosen: Sequence[StagedPane], advances: Sequence[Advance]) -> dict[str, object]:
    """What became of the records: of each once, whichever commit brings it."""
    total = Counts()
    for pane in chosen:
        total.add(pane.counts)
    for advance in advances:
        total.filtered += advance.filtered
        total.discarded_fields += advance.discarded_fields
    total.read = total.delivered + total.dead_letters + total.filtered + total.suppressed
    return {**summary(total), "late": sum(pane.late for pane in chosen)}
