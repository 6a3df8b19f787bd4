"""Work with files by processes forked from this one, or in it.

They are forked before anything starts a thread, with all modules loaded, and wait for work::

    here    --work, files-->  worker    a few files ahead, so that none waits
            <----found------

What a file takes differs by far, so each worker is given the next one when it has done one.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from threading import Lock
from typing import Any

from runners.forked import die_with, how_it_ended, leave_signals_to_parent
from runners.memory import keep_freed_memory
from schemas.errors import LakeError, LetheError
from stores.lake_files import LakeFile
from stores.objects.local import LocalObjectStore
from stores.objects.port import ObjectStore
from transforms.erasure.work import FileWork, Findings, Found, at_once, found_in


class WorkerDied(LakeError):
    """A worker was killed, or crashed. The next run finishes or clears what this one left."""

    code = "worker_died"


class ForkedFiles:
    """Does work with a number of workers; of more than one each is a process of its own.

    Implements ``FileRunner``. Make it before anything starts a thread, use it as a context manager
    for any amount of work, until something is raised.
    """

    def __init__(self, workers: int) -> None:
        # What is imported by now lives for ever: the collector need not look at it again, and
        # forked workers go on sharing its pages.
        gc.freeze()
        keep_freed_memory()
        self._workers: list[_Worker] = []
        for _ in range(workers if workers > 1 else 0):
            self._workers.append(_forked(self._workers))

    def __enter__(self) -> ForkedFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def each(
        self,
        files: Sequence[LakeFile],
        work: FileWork,
        store: ObjectStore,
        erasure_id: str,  # noqa: ARG002 - of this nothing has to be kept in the lake
    ) -> Findings:
        """See ``FileRunner``. Raises ``WorkerDied``."""
        if not isinstance(store, LocalObjectStore):
            return self._found(files, work, store)
        found = self._found(files, work, store.without_syncing_staged())
        store.sync_staged(one.file.staged for one in found.erased if one.file is not None)
        return found

    def _found(self, files: Sequence[LakeFile], work: FileWork, store: ObjectStore) -> Findings:
        workers = self._workers[: len(files)]
        if not workers:
            return Findings.of(_done_here(files, work, store))
        try:
            return Findings.of(_Deal(files, workers).done(work, store))
        except BaseException:
            self._end()  # none shall stage anything after what is staged is cleared
            raise

    def _end(self) -> None:
        while self._workers:
            self._workers.pop().kill()


def _done_here(files: Sequence[LakeFile], work: FileWork, store: ObjectStore) -> list[Found]:
    finder = work.open(store)
    with ThreadPoolExecutor(at_once(store)) as pool:
        found = list(pool.map(lambda file: found_in(file, finder), files))
    return [one for one in found if one is not None]


@dataclass
class _Worker:
    """A worker as it is seen from here. ``busy`` is how many files it has been given."""

    pid: int
    connection: Connection
    busy: int = 0
    ended: int | None = None

    def kill(self) -> int:
        """End it, if it has not ended by itself; how it ended."""
        if self.ended is None:
            os.kill(self.pid, signal.SIGKILL)
            self.ended = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.connection.close()
        return self.ended


class _Deal:
    """Files on their way to workers, and what is found on its way back."""

    def __init__(self, files: Sequence[LakeFile], workers: Sequence[_Worker]) -> None:
        self._left = deque(files)
        self._workers: dict[Any, _Worker] = {worker.connection: worker for worker in workers}
        self._found: list[Found] = []
        self._failure: Exception | None = None

    def done(self, work: FileWork, store: ObjectStore) -> list[Found]:
        """What was found, once no worker has a file any more. Raises what a worker raised."""
        for worker in self._workers.values():
            _send(worker, (work, store))
        for _ in range(at_once(store) + 1):
            for worker in self._workers.values():
                self._give(worker)
        while busy := [worker.connection for worker in self._workers.values() if worker.busy]:
            for connection in wait(busy):
                self._take(self._workers[connection])
        for worker in self._workers.values():
            _send(worker, None)
        if self._failure is not None:
            raise self._failure
        return self._found

    def _give(self, worker: _Worker) -> None:
        if self._left and self._failure is None:
            _send(worker, self._left.popleft())
            worker.busy += 1

    def _take(self, worker: _Worker) -> None:
        found = _received(worker)
        worker.busy -= 1
        if isinstance(found, Exception):
            self._failure = self._failure or found
        elif found is not None:
            self._found.append(found)
        self._give(worker)


@contextmanager
def _noticing_death(worker: _Worker) -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        raise WorkerDied(how_it_ended(worker.kill())) from None


def _send(worker: _Worker, what: Any) -> None:
    with _noticing_death(worker):
        worker.connection.send(what)


def _received(worker: _Worker) -> Any:
    with _noticing_death(worker):
        return worker.connection.recv()


# --- In a worker ------------------------------------------------------------------------------


def _forked(others: Sequence[_Worker]) -> _Worker:
    """A new worker; it lets go of what this process holds of the others."""
    ours, theirs = Pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        for connection in (ours, *(other.connection for other in others)):
            connection.close()
        _serve(theirs, parent)
    theirs.close()
    return _Worker(pid, ours)


def _serve(connection: Connection, parent: int) -> None:
    """Do what comes in, until nobody is there to ask for it. Never returns."""
    status = 1
    try:
        die_with(parent)
        leave_signals_to_parent()
        with suppress(EOFError):
            while True:
                _do(connection, *connection.recv())
        status = 0
    finally:
        os._exit(status)


def _do(connection: Connection, work: FileWork, store: ObjectStore) -> None:
    """Do some work with each file that comes in, up to the end of them."""
    one_at_a_time = Lock()
    attempt = _attempt(work, store)

    def answer(file: LakeFile) -> None:
        found = attempt(file)
        with one_at_a_time:
            try:
                connection.send(found)
            except Exception as error:  # here they wait for an answer, whatever it is
                connection.send(_told(error))

    with ThreadPoolExecutor(at_once(store)) as pool:
        while (file := connection.recv()) is not None:
            pool.submit(answer, file)


def _attempt(work: FileWork, store: ObjectStore) -> Callable[[LakeFile], Found | Exception | None]:
    """Does the work with a file; what was raised is given back, too."""
    try:
        finder = work.open(store)
    except Exception as error:
        failed = _told(error)
        return lambda _: failed

    def attempt(file: LakeFile) -> Found | Exception | None:
        try:
            return found_in(file, finder)
        except Exception as error:
            return _told(error)

    return attempt


def _told(error: Exception) -> Exception:
    """An error that can be sent: of a bug the places, for what it says may be personal."""
    if isinstance(error, LetheError):
        return error
    places = "".join(traceback.format_tb(error.__traceback__))
    return RuntimeError(f"{type(error).__name__} in a worker\n{places}")
