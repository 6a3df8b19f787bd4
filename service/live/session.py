"""One client's conversation, without I/O: fed with what comes, it says what is to be done.

    connected ──authenticate──> known ──subscribe, resume, unsubscribe, ping──> known
        │ too late, refused       │ expired, revoked, too fast, silent
        └──────────> closed <─────┘

Every input gives a list of steps. ``Identify`` and ``Open`` are questions, whose answers are inputs
too. Not thread-safe: whoever holds it takes turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.access import Principal
from schemas.errors import LetheError, NotAuthenticated, NotFound, RateLimited
from service.errors import fault_of, places_of
from service.live import messages, requests
from service.live.frames import (
    Broken,
    CloseCode,
    Closed,
    Pinged,
    Received,
    Text,
    ping_frame,
    pong_frame,
    text_frame,
)
from service.live.messages import Update, Watched
from service.live.pace import Allowance, Heartbeat
from service.live.requests import Authenticate, Ping, Subscribe, Unsubscribe
from service.live.steps import Close, Identify, Open, Send, Step, Unwatch
from service.live.watches import Begun, BegunAll, Missing, Opening, Watch, Watches
from service.security.tokens import Identity

RECHECK_SECONDS = 60.0
"""How often a token is looked at again: a connection outlives its revoked key by so much."""


@dataclass(frozen=True)
class Rules:
    """What holds for every session: times in seconds, and whether errors tell where they arose."""

    authenticate_seconds: float
    heartbeat_seconds: float
    messages_per_second: float
    development: bool


@dataclass(frozen=True)
class Clock:
    """Time in UTC, and seconds that never go back."""

    now: Callable[[], datetime]
    seconds: Callable[[], float]


class Session:
    """One client's conversation. ``correlation`` is in every error, ``own_id`` names it."""

    def __init__(self, rules: Rules, clock: Clock, correlation: str, own_id: str) -> None:
        now = clock.seconds()
        self._rules = rules
        self._clock = clock
        self._correlation = correlation
        self._id = own_id
        self._identity: Identity | None = None
        self._token = ""
        self._is_recheck = False
        self._watches = Watches()
        self._allowance = Allowance(rules.messages_per_second, now)
        self._heartbeat = Heartbeat(rules.heartbeat_seconds, now)
        self._ends_at = now + rules.authenticate_seconds
        self._recheck_at = float("inf")
        self._asked: Mapping[str, Any] = {}
        self.closed = False

    @property
    def principal(self) -> Principal:
        """Who the client is. Raises ``NotAuthenticated``."""
        if self._identity is None:
            raise NotAuthenticated("authenticate first: send a message of type auth")
        return self._identity.principal

    def receive(self, received: Received) -> list[Step]:
        """Something came from the client."""
        if self.closed:
            return []
        self._heartbeat.heard()
        if isinstance(received, Closed):
            return self.end(CloseCode.NORMAL, "")
        if isinstance(received, Broken):
            return self.end(received.code, received.reason)
        if not self._allowance.takes(self._clock.seconds()):
            return self._fail(RateLimited("messages come too fast"), CloseCode.POLICY)
        if isinstance(received, Pinged):
            return [Send(pong_frame(received.payload))]
        return self._message(received.text) if isinstance(received, Text) else []

    def identified(self, identity: Identity) -> list[Step]:
        """The token stands for this principal."""
        if self.closed:
            return []
        if self._identity is not None and identity.principal != self._identity.principal:
            problem = NotAuthenticated("this token is another's, or of other rights: reconnect")
            return self._fail(problem, CloseCode.NOT_AUTHENTICATED)
        self._know(identity)
        if self._is_recheck:
            return []
        subject = identity.principal.subject
        return [_text(messages.authenticated(subject, self._id, identity.expires_at))]

    def refused(self, error: Exception) -> list[Step]:
        """The token is no good, or its owner has connections enough, or nobody can tell now."""
        if self.closed:
            return []
        if isinstance(error, NotAuthenticated):
            return self._fail(error, CloseCode.NOT_AUTHENTICATED)
        if self._is_recheck and isinstance(error, LetheError) and error.retryable:
            self._recheck_at = self._clock.seconds() + RECHECK_SECONDS
            return []
        return self._fail(error, CloseCode.TRY_LATER)

    def opened(self, watched: Watched, opening: Opening | Missing) -> list[Step]:
        """What a watch begins with was read."""
        watch = self._watches.get(watched)
        if self.closed or watch is None:
            return []
        if isinstance(opening, Missing):
            return self.not_opened(watched, _not_there(watch.name))
        if watch.begin_again():
            return [Open(watched, watch.after)]
        return [_text(text) for text in _beginning(watched, watch, opening)]

    def not_opened(self, watched: Watched, error: Exception) -> list[Step]:
        """What a watch begins with could not be read."""
        watch = self._watches.pop(watched)
        if self.closed or watch is None:
            return []
        return [Unwatch(watched), self._refusal(error, name=watch.name)]

    def told(self, update: Update) -> list[Step]:
        """Something happened to what may be watched."""
        if self.closed or not self._watches.tell(update):
            return []
        return [Send(update.frame)]

    def tick(self) -> list[Step]:
        """Time passed: to be called when ``due_in`` has run down, and whenever else."""
        now = self._clock.seconds()
        if self.closed:
            return []
        if now >= self._ends_at:
            return self._fail(self._too_late(), CloseCode.NOT_AUTHENTICATED)
        if self._heartbeat.is_lost(now):
            return self.end(CloseCode.POLICY, "no sign of life")
        beat: list[Step] = [Send(ping_frame())] if self._heartbeat.beats(now) else []
        return beat + self._recheck(now)

    def due_in(self) -> float:
        """Seconds until ``tick`` has something to do."""
        due_at = min(self._ends_at, self._heartbeat.due_at, self._recheck_at)
        return max(0.0, due_at - self._clock.seconds())

    def end(self, code: CloseCode, reason: str) -> list[Step]:
        """It ends now."""
        if self.closed:
            return []
        self.closed = True
        return [Close(code, reason)]

    def broke(self, error: Exception) -> list[Step]:
        """A mistake of ours came up: it ends now."""
        return [] if self.closed else self._fail(error, CloseCode.MISTAKE)

    def _message(self, text: str) -> list[Step]:
        self._asked = {"characters": len(text)}
        try:
            request = requests.parse(text, self._id)
            self._asked = {**self._asked, "request": type(request).__name__.lower()}
            return self._do(request)
        except NotAuthenticated as error:
            return self._fail(error, CloseCode.NOT_AUTHENTICATED)
        except LetheError as error:
            return [self._refusal(error)]

    def _do(self, request: requests.Request) -> list[Step]:
        if isinstance(request, Authenticate):
            return self._authenticate(request)
        if isinstance(request, Ping):
            return [_text(messages.pong())]
        _ = self.principal
        if isinstance(request, Subscribe):
            self._watches.add(request.wanted)
            return [Open(watched, after) for watched, after in request.wanted]
        return self._unsubscribe(request)

    def _authenticate(self, request: Authenticate) -> list[Step]:
        if self._identity is None and request.session_id is not None:
            self._id = request.session_id
        self._token, self._is_recheck = request.token, False
        return [Identify(request.token)]

    def _unsubscribe(self, request: Unsubscribe) -> list[Step]:
        self._watches.remove(request.unwanted)
        steps: list[Step] = []
        for watched in request.unwanted:
            steps += [Unwatch(watched), _text(messages.unsubscribed(watched))]
        return steps

    def _know(self, identity: Identity) -> None:
        now = self._clock.seconds()
        self._identity = identity
        self._recheck_at = now + RECHECK_SECONDS
        self._ends_at = float("inf")
        if identity.expires_at is not None:
            self._ends_at = now + (identity.expires_at - self._clock.now()).total_seconds()

    def _recheck(self, now: float) -> list[Step]:
        if now < self._recheck_at:
            return []
        self._recheck_at, self._is_recheck = float("inf"), True
        return [Identify(self._token)]

    def _too_late(self) -> NotAuthenticated:
        if self._identity is None:
            return NotAuthenticated("nobody authenticated in time: send a message of type auth")
        return NotAuthenticated("the token has expired: connect again with a new one")

    def _fail(self, error: Exception, code: CloseCode) -> list[Step]:
        return [self._refusal(error), *self.end(code, fault_of(error).code)]

    def _refusal(self, error: Exception, **further: Any) -> Send:
        told = {**further, **self._for_developers(error)}
        fault = fault_of(error)
        return _text(messages.refusal(fault, self._correlation, self._clock.now(), told))

    def _for_developers(self, error: Exception) -> Mapping[str, Any]:
        if not self._rules.development:
            return {}
        return {"development": {"stack": places_of(error), "request": self._asked}}


def _beginning(watched: Watched, watch: Watch, opening: Opening) -> Iterator[bytes]:
    if isinstance(opening, Begun):
        yield messages.snapshot(opening.state)
    elif isinstance(opening, BegunAll):
        yield messages.snapshot_of_all(watched, opening.place, opening.states)
    else:
        yield messages.resumed(watched, watch.after or 0)
        yield from (update.text for update in opening.updates)
    yield from (update.text for update in watch.open(opening))


def _not_there(name: int) -> NotFound:
    """Clients cannot tell what does not exist from what is out of their reach."""
    return NotFound(f"name {name}: there is nothing of this name that you may see")


def _text(text: bytes) -> Send:
    return Send(text_frame(text))
