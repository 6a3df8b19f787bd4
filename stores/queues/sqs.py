"""Queued requests told of by AWS SQS, in order a subject; their rows remain the truth.

A message is the id of a request, nothing else. It says where to look; what is to be done the row
says, so a message that is lost, doubled, late or forged does no harm:

    lost       the rows are looked through when a drain begins, and every minute
    doubled    the row is not queued any more: deleted
    too early  an older one of the subject is queued still: hidden for some seconds
    forged     the row is not queued, or there is none: deleted

A message is deleted when its row is not queued any more, or is parked. That of a request that was
put off is hidden until its next try; so long SQS holds back all others of its group, which are
those of its subject.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
import structlog

from schemas.access import Reach
from schemas.dsr import Dsr, DsrQuery, DsrStatus
from stores.queues.sqs_client import SqsFifo
from stores.state.dsr_port import DsrStore

_MOST = 100
"""Messages that are dealt with at once."""

WAIT = 2
"""Seconds that SQS is listened to; less than a drain's lease lasts, by much."""

_HIDDEN = 300
"""Seconds that the messages of a round are hidden; one that takes longer meets them again."""

_LEFT = 10
_LONGEST = 3600
"""Seconds that a message is hidden whose request waits on: at least, and at most."""

_LOOK_EVERY = timedelta(minutes=1)
"""How often rows are looked through for what SQS has lost."""

_PAGE = 50
"""More than there can be requests of a subject that are not closed."""

_log = structlog.get_logger()


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    request: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f-]{36}$")]


class SqsQueue:
    """See ``stores.queues.port.RequestQueue``; waits so many seconds for a first message."""

    def __init__(self, requests: DsrStore, queue: SqsFifo, wait: int = WAIT) -> None:
        self._requests = requests
        self._queue = queue
        self._wait = wait
        self._held: dict[str, str] = {}
        self._look_at: datetime | None = None
        self._has_waited = False

    @property
    def has_waited(self) -> bool:
        return self._has_waited

    def put(self, dsr: Dsr) -> None:
        body = msgspec.json.encode(_Message(dsr.id)).decode()
        self._queue.send(body, group_of(dsr), f"{dsr.id}-{dsr.version}")

    def take(self, now: datetime, limit: int) -> list[Dsr]:
        found = self._looked_through(now, limit)
        self._receive(0 if found or self._held else self._wait)
        told = self._told(now, {dsr.id for dsr in found})
        return [*found, *told][:limit]

    def settle(self, now: datetime) -> None:
        """Hand back what was received: to be deleted, or to come again when it is due."""
        held, self._held = self._held, {}
        rows = {dsr.id: dsr for dsr in self._rows([*held.values()])}
        waiting = {
            handle: _hidden_for(rows[one], now)
            for handle, one in held.items()
            if one in rows and rows[one].is_waiting
        }
        self._queue.delete([handle for handle in held if handle not in waiting])
        self._queue.hide(waiting)

    def _looked_through(self, now: datetime, limit: int) -> list[Dsr]:
        """By rows, what SQS may have lost; time and again until there is none, then in a while."""
        is_time = self._look_at is None or now >= self._look_at or self._queue.is_silent
        found = self._requests.waiting(now, limit) if is_time else []
        if is_time and not found:
            self._look_at = now + _LOOK_EVERY
        return found

    def _receive(self, wait: int) -> None:
        """All there is, up to a number; waits for the first one."""
        self._has_waited = False
        while len(self._held) < _MOST:
            messages = self._queue.receive(wait, _HIDDEN)
            if not messages:
                self._has_waited = wait > 0 and not self._queue.is_silent
                return
            for handle, body in messages:
                self._hold(handle, body)
            wait = 0

    def _hold(self, handle: str, body: str) -> None:
        try:
            self._held[handle] = msgspec.json.decode(body, type=_Message).request
        except msgspec.MsgspecError:
            _log.warning("a message in SQS is none of ours: it is deleted")
            self._queue.delete([handle])

    def _told(self, now: datetime, known: Collection[str]) -> list[Dsr]:
        """Requests that messages tell of and that may be forwarded now, each once."""
        ids = [one for one in dict.fromkeys(self._held.values()) if one not in known]
        due = (dsr for dsr in self._rows(ids) if dsr.is_waiting and _is_due(dsr, now))
        return [dsr for dsr in due if not self._follows_another(dsr)]

    def _follows_another(self, dsr: Dsr) -> bool:
        """Whether a request that came before waits too, and shares a subject.

        SQS keeps the order of a group, but subjects overlap, and messages can be lost.
        """
        within = Reach(dsr.organization)
        asked = (DsrQuery(one, DsrStatus.QUEUED, _PAGE) for one in dsr.subjects)
        others = (other for query in asked for other in self._requests.find(query, within))
        mine = (dsr.received_at, dsr.id)
        return any(other.is_waiting and (other.received_at, other.id) < mine for other in others)

    def _rows(self, ids: list[str]) -> list[Dsr]:
        pages = (ids[start : start + _MOST] for start in range(0, len(ids), _MOST))
        return [dsr for page in pages for dsr in self._requests.get_many(page, Reach(None))]


def group_of(dsr: Dsr) -> str:
    """A name of the subject that only says who is the same one: a hash of the keyed hash."""
    first = min(dsr.subjects, default="")
    return hashlib.sha256(f"{dsr.organization}\n{first}".encode()).hexdigest()


def _is_due(dsr: Dsr, now: datetime) -> bool:
    at = dsr.forwarding.next_try_at
    return at is None or at <= now


def _hidden_for(dsr: Dsr, now: datetime) -> int:
    at = dsr.forwarding.next_try_at or now
    return int(min(max((at - now).total_seconds(), _LEFT), _LONGEST))
