"""Tasks of a round read side by side, so that one worker gets more than one shard can give.

The service gives 2 MB a second of a shard, and rests between two answers; a worker decodes many
times as much.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime

from schemas.changes import Block
from stores.streams.backoff import Clock
from stores.streams.port import StreamClient
from transforms.shards import ShardTask, read_task

THREADS = 8
"""Tasks that are read at once; as many blocks more may wait to be taken."""

THREAD_NAME = "read-tasks"

_LOOK_SECONDS = 0.2
"""How often a thread that cannot put its block looks whether anybody still wants it."""


def read_tasks(
    client: StreamClient, tasks: Sequence[ShardTask], until: datetime, clock: Clock | None = None
) -> Iterator[Block]:
    """The blocks of all tasks: of each in its order (see ``read_task``), of several as they come.

    Raises the first error of any of them.
    """
    outlet = _Outlet(deque(tasks), min(THREADS, len(tasks)))
    try:
        for _ in range(outlet.sources):
            threading.Thread(
                target=outlet.fill, args=(client, until, clock), name=THREAD_NAME, daemon=True
            ).start()
        yield from outlet.blocks()
    finally:
        outlet.closed.set()


class _Outlet:
    """Where threads put what they read, until it is closed."""

    def __init__(self, tasks: deque[ShardTask], sources: int) -> None:
        self.sources = sources
        self.closed = threading.Event()
        self._tasks = tasks
        self._found: queue.Queue[Block | Exception | None] = queue.Queue(maxsize=THREADS)

    def fill(self, client: StreamClient, until: datetime, clock: Clock | None) -> None:
        """Read one task after another; called by each of ``sources`` threads."""
        try:
            while (task := self._next()) is not None:
                self._read(client, task, until, clock)
        except Exception as error:
            self._put(error)
        self._put(None)

    def _next(self) -> ShardTask | None:
        try:
            return None if self.closed.is_set() else self._tasks.popleft()
        except IndexError:
            return None

    def _read(
        self, client: StreamClient, task: ShardTask, until: datetime, clock: Clock | None
    ) -> None:
        for block in read_task(client, task, until, clock):
            self._put(block)
            if self.closed.is_set():
                return

    def _put(self, found: Block | Exception | None) -> None:
        while not self.closed.is_set():
            try:
                self._found.put(found, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def blocks(self) -> Iterator[Block]:
        """What is put, until every thread has no more."""
        running = self.sources
        while running:
            found = self._found.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                running -= 1
            else:
                yield found
