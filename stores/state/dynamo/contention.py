"""Writing under conditions, where somebody else's change may have come between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random,
    wait_random_exponential,
)

from schemas.errors import StoreUnavailable
from stores.state.dynamo.table import DynamoTable, Refused
from stores.state.dynamo.writes import Write

T = TypeVar("T")

_QUEUE_SECONDS = 15.0
_ATTEMPTS = 20
_RACING_SECONDS = 10.0
_BREATH = 0.005


class Overtaken(Exception):
    """Another process has moved on what this one wanted to, and it is known where it is now."""


@contextmanager
def one_at_a_time(turn: threading.Lock) -> Iterator[None]:
    """Have this process's threads write one after another. Raises ``StoreUnavailable``."""
    if not turn.acquire(timeout=_QUEUE_SECONDS):
        raise StoreUnavailable("state store: too many wait to write to it")
    try:
        yield
    finally:
        turn.release()


def contended(work: Callable[[], T]) -> T:
    """Do ``work``, which reads and then writes under a condition, until nothing came between.

    Raises ``StoreUnavailable`` if something always does.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(Refused),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.005, max=0.5),
        reraise=True,
    )
    try:
        return retrying(work)
    except Refused:
        raise StoreUnavailable("state store: too many change the same at once") from None


def raced(work: Callable[[], T]) -> T:
    """Do ``work``, which moves on an item that all processes do, until it was the first to.

    ``Overtaken`` tells it where the item is, and it tries again almost at once: what it was told is
    old by the time that a longer wait is over. A process has one such attempt under way, so there
    are never more of them than processes. Raises ``StoreUnavailable``.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(Overtaken),
        stop=stop_after_delay(_RACING_SECONDS),
        wait=wait_random(0, _BREATH),
        reraise=True,
    )
    try:
        return retrying(work)
    except Overtaken:
        raise StoreUnavailable("state store: too many changes at once") from None


def done(table: DynamoTable, writes: Sequence[Write]) -> bool:
    """Do all or nothing: whether the conditions held."""
    try:
        table.transact(writes)
    except Refused:
        return False
    return True
