"""What befalls a service while it works: bad processors, bad networks, deaths, a locked database.

    with striking(kill_workers(service), every=1.0, seed=7):
        ...                         # some time from now, again and again

A misfortune is a function of a ``Random`` that does one thing, and has put it right when it returns
if nobody else does.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from tests.faults import CutAnswer, CutRequest, Delay, Fault, FaultProxy, LoseAnswer, Refuse
from tests.mock_processor import RunningProcessor
from tests.service_process import Service

Misfortune = Callable[[Random], None]

SLOWER_THAN_TIMEOUT = 1.5
"""Seconds; timeouts of processors are to be shorter."""

WELL: Mapping[str, Any] = {
    "latency": 0.0, "error_rate": 0.0, "lost": 0.0, "outage": False, "throttle": None,
    "garbage": 0.0, "repeats": 1, "shuffled": False, "odd_times": False, "sparse": False,
}  # fmt: skip

MOODS: Sequence[Sequence[Mapping[str, Any]]] = (
    [{"outage": True}],
    [{"lost": 1.0}, {"outage": True}],
    [{"lost": 1.0}, {"outage": True}],
    [{"error_rate": 0.3}],
    [{"lost": 0.3}],
    [{"latency": SLOWER_THAN_TIMEOUT}, {"outage": True}],
    [{"latency": 0.1, "lost": 0.2, "error_rate": 0.2}],
    [{"throttle": 5.0}],
    [{"repeats": 3, "shuffled": True, "odd_times": True}],
    [{"garbage": 0.3, "sparse": True}],
)
"""One thing after another: what was taken unheard is tempting to send elsewhere when it is down."""

FAULTS: Sequence[Fault] = (
    CutRequest(10),
    CutAnswer(5),
    LoseAnswer(),
    Delay(SLOWER_THAN_TIMEOUT),
    Refuse(500, "InternalError"),
    Refuse(503, "SlowDown"),
)


def change_mood(processor: RunningProcessor) -> Misfortune:
    """The processor is rude, slow or down for a while."""

    def strike(random: Random) -> None:
        for mood in random.choice(MOODS):
            processor.set(**{**WELL, **mood})
            time.sleep(random.uniform(0.2, 1.0))
        processor.set(**WELL)

    return strike


def go_on(processor: RunningProcessor) -> Misfortune:
    """The processor does its work: what was pending cannot be cancelled any more."""

    def strike(random: Random) -> None:
        del random
        processor.advance()

    return strike


def disturb(network: FaultProxy) -> Misfortune:
    """For a while, some calls do not go through as they should."""

    def strike(random: Random) -> None:
        method = random.choice(["POST", "GET", "DELETE", ""])
        network.inject(random.choice(FAULTS), times=random.randint(1, 2), method=method)
        time.sleep(random.uniform(0.2, 1.0))
        network.relent()

    return strike


def kill_workers(service: Service) -> Misfortune:
    """A web worker dies; another one takes its place."""

    def strike(random: Random) -> None:
        with suppress(IndexError, ProcessLookupError):
            os.kill(random.choice(service.workers()), signal.SIGKILL)

    return strike


def lock_file(database: Path) -> Misfortune:
    """Another process writes to SQLite's file, for longer than is waited for at first."""

    def strike(random: Random) -> None:
        with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(random.uniform(0.1, 2.0))

    return strike


def cut_connections(url: str) -> Misfortune:
    """PostgreSQL hangs up in the midst of whatever is asked of it, and a table is locked."""

    def strike(random: Random) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("LOCK TABLE dsrs IN EXCLUSIVE MODE")
            time.sleep(random.uniform(0.0, 1.0))

    return strike


@contextmanager
def striking(misfortune: Misfortune, every: float, seed: int) -> Iterator[None]:
    """It strikes again and again, in a thread, after pauses of up to twice ``every`` seconds.

    What goes wrong with the misfortune itself is raised at the end.
    """
    stop, random = threading.Event(), Random(seed)
    failures: list[Exception] = []

    def strike() -> None:
        try:
            while not stop.wait(random.uniform(0, 2 * every)):
                misfortune(random)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
