"""Reading ahead: many shards, fetched by a few threads into a bounded queue of blocks.

Every shard has a time at which it is due. A thread takes the shard that has been due for longest,
asks for one answer, and gives the shard its next time: soon if there is more, later and later while
it is idle. So all shards have their turn, and one that waits after a failure holds no thread.
Listing the stream's shards is a job among the others.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

from schemas.changes import Block
from schemas.errors import StoreUnavailable
from schemas.streams import ShardRange
from stores.streams.backoff import ATTEMPTS, Clock, pause
from stores.streams.port import StreamClient
from transforms.checkpoint import StreamMark
from transforms.readings import Beginning, IsFinished, Listing, Reading, Readings
from transforms.shard_cursor import lost_block
from transforms.shards import PACE

READ_AHEAD_BYTES = 32 * 1024 * 1024
"""Bytes of documents that may wait; each thread may add one answer to them."""

BLOCKS_A_SHARD = 2
"""Blocks of one shard that may wait."""

IDLE_SECONDS = 1.0
"""The longest time between two looks at a shard with nothing new, if shards are few."""

IDLE_REQUESTS = 100
"""Requests a second that all idle shards may make together: among many, each waits longer."""

TELL_SECONDS = 300.0
"""How often an idle shard gives a block without documents, so that its position does not age."""

LIST_SECONDS = 30.0
LIST_SOON_SECONDS = 2.0
"""Between two listings; soon while a child is yet to be found, or another reader to finish."""

LISTING = ""
"""The job of listing the shards; that of fetching one is its id."""


class ReadAhead:
    """The blocks of one reader's shards, and the jobs that bring more of them.

    ``begin`` is called by a thread, to find out what there is to read. Without ``is_finished`` no
    other reader has shards of the stream.
    """

    def __init__(
        self,
        client: StreamClient,
        begin: Callable[[], Beginning],
        is_finished: IsFinished | None,
        clock: Clock,
    ) -> None:
        self._client, self._begin = client, begin
        self._is_finished, self._clock = is_finished, clock
        self._readings: Readings | None = None
        self._ready: deque[tuple[Reading, Block]] = deque()
        self._bytes = 0
        self._jobs: list[tuple[float, int, str]] = [(float("-inf"), 0, LISTING)]
        self._numbers = itertools.count(1)
        self._listing_failures = 0
        self._error: Exception | None = None
        self._is_closed = False
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    # --- for the reader

    def take(self) -> Block | None:
        """The next block, handed on by this call; None if there is none yet.

        Raises what ended the reading.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            if not self._ready:
                return None
            reading, block = self._ready.popleft()
            self._bytes -= block.end
            reading.hand_on(_stretch(block))
            self._schedule(reading)
            self._changed.notify()
            return block

    def mark(self) -> StreamMark | None:
        """How far all shards have been handed on; None before it is known which there are."""
        with self._changed:
            return None if self._readings is None else self._readings.mark()

    def reached(self) -> datetime | None:
        """Before which moment no record will come any more; None if that cannot be said yet."""
        with self._changed:
            return None if self._readings is None else self._readings.reached()

    @property
    def is_over(self) -> bool:
        """Whether everything has been handed on, and nothing will ever follow."""
        with self._changed:
            return self._readings is not None and self._readings.is_over

    def start(self, threads: int) -> None:
        """Do the work in so many threads, from now until ``close``."""
        for _ in range(threads):
            threading.Thread(target=self.work, daemon=True).start()

    def close(self) -> None:
        """Let ``work`` end in all threads, once they have the answers that they wait for."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    # --- for the threads

    def work(self) -> None:
        """Do jobs until this is closed, or one of them fails for good."""
        while (job := self._await_job()) is not None:
            self.do(job)

    def do(self, job: str) -> None:
        """Do one job. What it raises is kept for the reader, and ends the work."""
        try:
            if job == LISTING:
                self._list()
            else:
                self._fetch(job)
        except Exception as error:
            with self._changed:
                self._error = error
            self.close()

    def due_job(self) -> str | None:
        """The job that has been due for longest, taken; None if none is, or the queue is full."""
        with self._changed:
            if self._seconds_to_wait() != 0:
                return None
            return heapq.heappop(self._jobs)[2]

    def _await_job(self) -> str | None:
        # One thread waits for the next job, the others for their turn to wait: so only one wakes.
        with self._turn, self._changed:
            while not self._is_closed:
                job = self.due_job()
                if job is not None:
                    return job
                self._changed.wait(self._seconds_to_wait())
        return None

    def _seconds_to_wait(self) -> float | None:
        """Until a job is due; None if that depends on others."""
        if not self._jobs or self._bytes >= READ_AHEAD_BYTES:
            return None
        return max(0.0, self._jobs[0][0] - self._clock.monotonic())

    def _put(self, job: str, due: float) -> None:
        heapq.heappush(self._jobs, (due, next(self._numbers), job))
        self._changed.notify()

    # --- one shard

    def _fetch(self, shard_id: str) -> None:
        reading = self._known()[shard_id]
        asked = self._clock.monotonic()
        try:
            block = reading.cursor.read()
        except StoreUnavailable as error:
            self._try_again(reading, error)
            return
        with self._changed:
            reading.failures, reading.is_scheduled = 0, False
            self._keep(reading, block)
            self._pace(reading, block, asked)
            if reading.is_read:
                self._list_after(0.0)

    def _known(self) -> Readings:
        assert self._readings is not None
        return self._readings

    def _try_again(self, reading: Reading, error: StoreUnavailable) -> None:
        reading.failures += 1
        if reading.failures == ATTEMPTS:
            raise error
        with self._changed:
            wait = max(PACE, pause(reading.failures))
            self._put(reading.step.shard_id, self._clock.monotonic() + wait)

    def _keep(self, reading: Reading, block: Block | None) -> None:
        """Put what was read into the queue; what was found to be nothing, only now and then."""
        cursor = reading.cursor
        reading.is_read = cursor.ended
        if block is not None:
            self._queue(reading, block)
        elif cursor.ended or (cursor.caught_up and self._is_to_tell(reading)):
            self._queue(reading, cursor.rest())
        elif cursor.caught_up and not reading.waiting:
            reading.catch_up()

    def _is_to_tell(self, reading: Reading) -> bool:
        return self._clock.monotonic() - reading.told_at >= TELL_SECONDS

    def _queue(self, reading: Reading, block: Block) -> None:
        reading.told_at = self._clock.monotonic()
        reading.waiting += 1
        self._bytes += block.end
        self._ready.append((reading, block))

    def _pace(self, reading: Reading, block: Block | None, asked: float) -> None:
        if block is not None or not reading.cursor.caught_up:
            reading.interval = PACE
        else:
            longest = max(IDLE_SECONDS, len(self._known()) / IDLE_REQUESTS)
            reading.interval = min(reading.interval * 1.5, longest)
        reading.due = asked + reading.interval
        self._schedule(reading)

    def _schedule(self, reading: Reading) -> None:
        """Have the shard fetched when it is due, unless enough of it waits."""
        is_busy = reading.is_scheduled or reading.waiting >= BLOCKS_A_SHARD
        if not is_busy and not reading.is_read:
            reading.is_scheduled = True
            self._put(reading.step.shard_id, reading.due)

    # --- all shards

    def _list(self) -> None:
        try:
            listed = self._listed()
            awaited = self._awaited_elsewhere(listed)
        except StoreUnavailable as error:
            self._list_again(error)
            return
        with self._changed:
            self._listing_failures = 0
            for reading in self._known().startable(awaited):
                self._start(reading)
            soon = self._known().is_awaiting
            self._list_after(LIST_SOON_SECONDS if soon else LIST_SECONDS)

    def _listed(self) -> Listing:
        listed = self._first_listed() if self._readings is None else self._listed_again()
        with self._changed:
            self._known().adopt(listed)
        return listed

    def _first_listed(self) -> Listing:
        beginning = self._begin()
        with self._changed:
            self._readings = Readings(self._client, beginning)
        return beginning.listed

    def _listed_again(self) -> Listing:
        return {shard.shard_id: shard for shard in self._client.list_shards()}

    def _awaited_elsewhere(self, listed: Listing) -> set[str]:
        is_finished = self._is_finished
        if is_finished is None:
            return set()
        with self._changed:
            parents = self._known().awaited_elsewhere(listed)
        return {key for key in parents if not is_finished(self._client.address.source(key))}

    def _start(self, reading: Reading) -> None:
        reading.is_started = True
        reading.due = self._clock.monotonic()
        if reading.step.is_lost:
            reading.is_read = True
            self._queue(reading, lost_block(reading.step))
        self._schedule(reading)

    def _list_again(self, error: StoreUnavailable) -> None:
        self._listing_failures += 1
        if self._listing_failures == ATTEMPTS:
            raise error
        with self._changed:
            self._list_after(pause(self._listing_failures))

    def _list_after(self, seconds: float) -> None:
        self._jobs = [job for job in self._jobs if job[2] != LISTING]
        heapq.heapify(self._jobs)
        self._put(LISTING, self._clock.monotonic() + seconds)


def _stretch(block: Block) -> ShardRange:
    assert block.stretch is not None  # the cursors make no others
    return block.stretch
