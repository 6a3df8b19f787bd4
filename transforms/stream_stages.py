"""The stages of a delivery without end, as Beam carries them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from schemas.changes import Block, ChangeBatch
from schemas.erasure import SuppressionRef
from schemas.stream_ledger import BlockAccount
from schemas.stream_log import ShardState
from stores.log import Commit, DeliveryLog, Run, staging_name
from stores.objects.port import ObjectStore
from stores.stream_log import StagedPane, StreamCommitter, StreamView
from transforms.cut import cut, skip_delivered
from transforms.panes import Pane, stage_pane
from transforms.partition import Partitioning
from transforms.stages import ACCOUNTS, report_metrics
from transforms.state_coders import Books, BooksCoder
from transforms.suppress import SubjectRules, SubjectSieve
from transforms.write import LakeWriter

SUPPRESSIONS_KEPT = timedelta(hours=1)
"""How long it may take until a suppression that has expired is not heeded any more."""

PROGRESS_EVERY = 10
"""Seconds after which it is committed how far shards were read, if no file says so before."""


class _FollowsLog(beam.DoFn):
    """Knows what the log says of shards, as of the bundle's first element or later."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def setup(self) -> None:
        self._view = StreamView(DeliveryLog(self._store))

    def start_bundle(self) -> None:
        self._is_up_to_date = False

    def states(self) -> Mapping[str, ShardState]:
        if not self._is_up_to_date:
            self._view.catch_up()
            self._is_up_to_date = True
        return self._view.states

    @property
    def suppressions(self) -> tuple[SuppressionRef, ...]:
        """Lists of suppressed subjects; as of the last ``states``."""
        return self._view.suppressions


class SkipDelivered(_FollowsLog):
    """Blocks without the documents up to which their shard is delivered wholly."""

    def process(self, block: Block) -> Iterator[Block]:
        yield skip_delivered(block, self.states().get(block.source, ShardState()))


class CutBatches(beam.DoFn):
    """Batches to pieces keyed by portion; the output ``accounts`` has what was read."""

    def __init__(self, partitioning: Partitioning) -> None:
        self._partitioning = partitioning

    def process(self, batch: ChangeBatch) -> Iterator[Any]:
        pieces, account = cut(batch, self._partitioning)
        for piece in pieces:
            yield piece.portion.key, piece
        yield beam.pvalue.TaggedOutput(ACCOUNTS, account)


class WritePanes(_FollowsLog):
    """Panes to staged files, without the rows that the log calls delivered."""

    def __init__(self, lake: LakeWriter) -> None:
        super().__init__(lake.store)
        self._lake = lake

    def setup(self) -> None:
        super().setup()
        self._rules: SubjectRules | None = None
        self._sieve: SubjectSieve | None = None
        self._opened_at = datetime.min.replace(tzinfo=UTC)

    def process(self, pane: Pane) -> Iterator[StagedPane]:
        now = datetime.now(UTC)
        lake = replace(self._lake, run_id=staging_name(self._lake.run_id, now))
        states, sieve = self.states(), self._current_sieve(now)
        staged = stage_pane(pane, states, lake, now, sieve)
        if staged is not None:
            yield replace(staged, knows=0 if self._rules is None else self._rules.knows)

    def _current_sieve(self, now: datetime) -> SubjectSieve | None:
        """Made anew when the log tells of another list, and when some may have expired."""
        if self._lake.subjects is None:
            return None
        rules = replace(self._lake.subjects, suppressions=self.suppressions)
        if rules != self._rules or now - self._opened_at >= SUPPRESSIONS_KEPT:
            self._sieve = rules.open(self._lake.store, now)
            self._rules, self._opened_at = rules, now
        return self._sieve


_BOOKS = beam.DoFn.StateParam(ReadModifyWriteStateSpec("books", BooksCoder()))
_PROGRESS = TimerSpec("progress", TimeDomain.REAL_TIME)
_LAST = TimerSpec("last", TimeDomain.WATERMARK)
_SET_PROGRESS = beam.DoFn.TimerParam(_PROGRESS)
_SET_LAST = beam.DoFn.TimerParam(_LAST)


class CommitStream(beam.DoFn):
    """Staged panes and accounts, all under one key, to commits: one a bundle at the most.

    The accounts are kept as state until all their rows are delivered. Staged files never are: were
    one there that another attempt has overtaken, each repetition would find it again. So they are
    committed before their bundle ends, and an engine must end bundles before it takes a checkpoint
    (Flink: ``--finish_bundle_before_checkpointing``).
    """

    def __init__(self, store: ObjectStore, run: Run) -> None:
        self._store = store
        self._run = run

    def setup(self) -> None:
        self._committer: StreamCommitter | None = None

    def start_bundle(self) -> None:
        self._panes: list[StagedPane] = []
        self._books: Books | None = None
        self._is_due = False

    def process(
        self,
        keyed: tuple[str, StagedPane | BlockAccount],
        books: Any = _BOOKS,
        progress: Any = _SET_PROGRESS,
        last: Any = _SET_LAST,
    ) -> None:
        known = self._known(books)
        item = keyed[1]
        if isinstance(item, StagedPane):
            self._panes.append(item)
            return
        if not known.is_put_off:
            progress.set(Timestamp.now() + PROGRESS_EVERY)
            last.set(GlobalWindow().max_timestamp())
        self._keep(replace(known.add(item), is_put_off=True), books)

    @on_timer(_PROGRESS)
    def at_times(self, books: Any = _BOOKS) -> None:
        self._is_due = True
        self._keep(replace(self._known(books), is_put_off=False), books)

    @on_timer(_LAST)
    def at_last(self, books: Any = _BOOKS) -> None:
        self._is_due = True
        self._known(books)

    def finish_bundle(self) -> None:
        if not self._panes and not self._is_due:
            return
        if self._books is not None:
            made = self._commit(self._books)
            if made is not None:
                report_metrics(made.counts)

    def _known(self, books: Any) -> Books:
        if self._books is None:
            kept = books.read() or Books()
            self._books = kept.trimmed(self._started().states)
        return self._books

    def _keep(self, known: Books, books: Any) -> None:
        self._books = known
        books.write(known)

    def _commit(self, books: Books) -> Commit | None:
        committer, self._committer = self._started(), None
        made = committer.commit(self._panes, books.ledgers, self._is_due)
        self._committer = committer
        return made

    def _started(self) -> StreamCommitter:
        if self._committer is None:
            committer = StreamCommitter(self._store, self._run)
            committer.start()
            self._committer = committer
        return self._committer
