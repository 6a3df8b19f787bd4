"""A crew of threads: work that mostly waits for answers, side by side, in bounded number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full, Queue

from stores.streams.backoff import SystemClock

Work = Callable[[], None]


class Dismissed(Exception):
    """The crew was told to stop while this thread was waiting for something."""


class Crew:
    """``size`` threads. The first exception of any work stops them all, and is raised to the one
    who brings work. They are daemons: a process that ends does not wait for answers."""

    def __init__(self, size: int) -> None:
        # Some more tasks than threads, so that none of them waits for its next.
        self._tasks: Queue[Work | None] = Queue(1 + size // 4)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    @property
    def clock(self) -> SystemClock:
        """A clock whose sleep ends with ``Dismissed`` when the crew stops."""
        return _CrewClock(self._stop)

    def do(self, work: Work) -> None:
        """Have this done; waits while all are busy. Raises what other work raised before."""
        self._raise_error()
        self._tasks.put(work)

    def finish(self) -> None:
        """Wait until all work is done. Raises what any of it raised."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._raise_error()

    def dismiss(self) -> None:
        """Have the threads end without being waited for; what is not begun is not done."""
        self._stop.set()
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            with suppress(Full):
                self._tasks.put_nowait(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._stop.is_set():
                continue
            try:
                task()
            except BaseException as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error
            self._stop.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


class _CrewClock(SystemClock):
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Dismissed
