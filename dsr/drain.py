"""The drain: has queued requests taken by their processors, oldest first, in order a subject.

What processors have is cancelled there if somebody wants that, and asked about if they are silent.

The requests in the store are the queue: they are there before anybody is told that they are queued.
Of all processes one drains at a time, by a lease. That is for order and for the processors' sake;
that each request arrives once rests on what ``forwarding`` writes down before it asks, under the
version that was read: of two who take themselves for the leader one claims a request, and whoever
comes after a death asks the processor first.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import islice

import structlog

from dsr.alerts import Alerts
from dsr.changing import Decide, change, draft_of
from dsr.deadline_watch import DeadlineWatch
from dsr.desk import Desk
from dsr.forwarding import (
    Claim,
    Heard,
    Located,
    LookUp,
    Outcome,
    Rules,
    Said,
    Send,
    Settle,
    Talk,
    Tell,
    Unreadable,
    Unready,
    Withdraw,
    forwarding,
    withdrawal,
)
from dsr.outages import Outages
from dsr.polling import THERE, inquiry, orphaned
from dsr.requests import particulars
from schemas.access import Reach
from schemas.dsr import Dsr
from schemas.errors import StoreError, Unavailable, UsageError
from schemas.opendsr.model import Acceptance, SubjectRequest
from stores.processors.errors import Gone, ProcessorError, Unsupported
from stores.processors.port import Accepted, Processor
from stores.state.leadership import Leadership
from stores.state.port import LeaseLost
from stores.subjects import SealBroken

LEASE = "dsr-drain"
"""The lease of whoever drains."""

LEASE_SECONDS = 8.0
"""How long nobody drains, at most, when the one who did was killed."""

WATCH_EVERY = timedelta(minutes=5)
"""How often deadlines and outages are looked at."""

ACTOR = "drain"
"""What the audit log calls it."""

_AT_ONCE = 200
_FURTHER = 5000
"""Requests that one look takes in; more if processors of the first are paused, or are gone."""

_ASKED_AT_ONCE = 50
"""Requests that are asked about in one round, after what is to be sent: that is not so urgent."""

_PARKED_AT_ONCE = 20
"""Requests that are parked in one round, for want of a processor: an alert each."""

_RENEWS_WITHIN = 1.0
_SURE_FOR = 2.0
"""Seconds that the lease must still run for when something is sent."""

_EVERYWHERE = Reach(None)
_log = structlog.get_logger()


@dataclass(frozen=True)
class Route:
    """A processor, and its regions in order."""

    processor: Processor
    regions: tuple[str, ...]


@dataclass(frozen=True)
class Routes:
    """All processors by name, and the addresses that they are told to call back."""

    by_name: Mapping[str, Route]
    callback_urls: tuple[str, ...] = ()

    def of(self, dsr: Dsr, opened: Callable[[], SubjectRequest]) -> Route | None:
        """Where a request goes: where it went before, or to the first that takes its like.

        None if there is no such processor any more, or none at all.
        """
        known = dsr.forwarding.processor
        if known is not None:
            return self.by_name.get(known)
        routes = list(self.by_name.values())
        if len(routes) < 2:
            return next(iter(routes), None)
        request = opened()
        return next((route for route in routes if _takes(route, request)), routes[0])


@dataclass(frozen=True)
class Watch:
    """What is watched beside the queue: outages that last so long, deadlines so many days off."""

    outage: timedelta
    deadline_days: tuple[int, ...]


@dataclass(frozen=True)
class Post:
    """What a drain works with."""

    desk: Desk
    routes: Routes
    outages: Outages
    alerts: Alerts
    rules: Rules
    watch: Watch
    concurrency: int


class Drain:
    """Drains while it leads. ``round`` is for one thread, which has helpers of its own.

    A round ends soon when ``stopping`` is set.
    """

    def __init__(self, post: Post, leadership: Leadership, stopping: threading.Event) -> None:
        self._post = post
        self._leadership = leadership
        self._clock = post.desk.clock
        self._helpers = ThreadPoolExecutor(post.concurrency, "drain")
        self._stopping = stopping
        self._watch_at = self._clock()
        self._deadlines = DeadlineWatch(
            post.desk, post.alerts, post.watch.deadline_days, actor=ACTOR
        )

    def round(self) -> Counter[Outcome] | None:
        """Once through what is due; None if another one drains. Raises ``StoreError``."""
        if self._leadership.hold() is None:
            return None
        try:
            done = self._through(self._due())
            self._post.desk.queue.settle(self._clock())
        except StoreError:
            self._watch()
            raise
        self._watch()
        return done

    @property
    def has_waited(self) -> bool:
        """Whether the last round waited for requests, in vain, and another one may follow it."""
        return self._post.desk.queue.has_waited

    def close(self) -> None:
        """Wait for what is under way, and let others drain."""
        self._helpers.shutdown(cancel_futures=True)
        try:
            self._leadership.resign()
        except StoreError as error:
            _log.warning("the lease runs out by itself", code=error.code)

    # --- what there is to do

    def _due(self) -> list[tuple[Dsr, Callable[[Dsr, str], Talk]]]:
        requests, now = self._post.desk.requests, self._clock()
        rules = self._post.rules
        cancels = self._some(partial(requests.to_cancel, now), _AT_ONCE)
        sends = self._some(partial(self._post.desk.queue.take, now), _AT_ONCE)
        asks = self._some(partial(requests.to_ask_about, now), _ASKED_AT_ONCE)
        return [
            *((dsr, lambda one, _: withdrawal(one, rules)) for dsr in cancels),
            *((dsr, lambda one, name: forwarding(one, name, rules)) for dsr in sends),
            *((dsr, lambda one, _: inquiry(one, now, rules)) for dsr in asks),
        ]

    def _some(self, look: Callable[[int], Sequence[Dsr]], most: int) -> list[Dsr]:
        """The oldest that may be asked for; what waits in vain before them is passed over.

        Behind them some that have no processor any more.
        """
        found = look(most)
        askable = [dsr for dsr in found if self._may_be_asked(dsr)]
        orphans = islice((dsr for dsr in found if self._is_orphan(dsr)), _PARKED_AT_ONCE)
        if len(found) == most > len(askable):
            further = (dsr for dsr in look(_FURTHER) if self._may_be_asked(dsr))
            askable = list(islice(further, most))
        return [*askable, *orphans]

    def _is_orphan(self, dsr: Dsr) -> bool:
        """Whether it was sent to a processor that the settings do not name any more.

        Or taken by a region of which that is so: one that may have it is the processor's affair.
        """
        known = dsr.forwarding
        if known.processor is None:
            return False
        route = self._post.routes.by_name.get(known.processor)
        return route is None or (dsr.status in THERE and known.region not in {None, *route.regions})

    def _may_be_asked(self, dsr: Dsr) -> bool:
        if self._is_orphan(dsr):
            return False
        route = self._route(dsr)
        return route is not None and self._post.outages.may_ask(route.processor.name)

    def _route(self, dsr: Dsr) -> Route | None:
        """Where a request goes; one that cannot be opened is found so where it would go first."""
        routes = self._post.routes
        try:
            return routes.of(dsr, lambda: self._request(dsr))
        except SealBroken:
            return next(iter(routes.by_name.values()))

    def _through(self, due: Sequence[tuple[Dsr, Callable[[Dsr, str], Talk]]]) -> Counter[Outcome]:
        """Do all, some at a time, and keep the lease meanwhile. Raises the first ``StoreError``."""
        if self._leadership.hold() is None:  # Looking for what is due may have taken long.
            return Counter()
        left: set[Future[Outcome]] = {self._helpers.submit(self._one, *one) for one in due}
        done: set[Future[Outcome]] = set()
        while left:
            ended, left = wait(left, _RENEWS_WITHIN, FIRST_COMPLETED)
            done |= ended
            if self._leadership.hold() is None:
                for future in left:
                    future.cancel()
        return Counter(future.result() for future in done if not future.cancelled())

    def _one(self, dsr: Dsr, begin: Callable[[Dsr, str], Talk]) -> Outcome:
        """One request, unless its processor was found not to answer meanwhile."""
        if self._stopping.is_set():
            return Outcome.LEFT
        try:
            if self._is_orphan(dsr):
                return self._converse(dsr.id, orphaned(dsr, self._post.rules), dsr, None)
            route = self._route(dsr)
            if route is None or not self._may_be_asked(dsr):
                return Outcome.LEFT
            return self._converse(dsr.id, begin(dsr, route.processor.name), dsr, route)
        except (LeaseLost, Unavailable):  # The latter if others change it all the time.
            return Outcome.LEFT

    def _converse(self, request_id: str, talk: Talk, dsr: Dsr, route: Route | None) -> Outcome:
        try:
            said = next(talk)
            while True:
                said = talk.send(self._do(said, dsr, route))
        except StopIteration as end:
            outcome: Outcome = end.value
        _log.info("request handled", request=request_id, outcome=outcome.value)
        return outcome

    def _do(self, said: Said, dsr: Dsr, route: Route | None) -> Heard:
        match said:
            case Claim(decide):
                return self._claim(dsr, decide)
            case Settle(decide):
                return change(self._post.desk, dsr.id, _EVERYWHERE, ACTOR, decide)
            case Tell(alert):
                return self._post.alerts.tell(alert)
        assert route is not None, "a request without a processor is asked of nobody"
        return self._ask(said, route)

    def _claim(self, dsr: Dsr, decide: Decide) -> Dsr | None:
        self._check_lease()
        now = self._clock()
        step = decide(dsr, now)
        if step is None:
            return None
        return self._post.desk.requests.change(
            replace(step.dsr, updated_at=now), draft_of(step, ACTOR)
        )

    def _check_lease(self) -> None:
        lease = self._leadership.lease
        sure_until = self._clock() + timedelta(seconds=_SURE_FOR)
        if lease is None or lease.expires_at < sure_until:
            raise LeaseLost("another one may drain by now")

    # --- what processors are asked

    def _ask(self, said: Send | LookUp | Withdraw, route: Route) -> Heard:
        """The answer, or the error that came instead; noted for the other requests."""
        try:
            answer = self._asked(said, route)
        except SealBroken:
            return Unreadable(f"request {said.dsr.id}: what is sealed cannot be opened")
        except UsageError as error:
            return self._heard(route, Unready(error.message))
        except ProcessorError as error:
            return self._heard(route, error)
        self._post.outages.heard(route.processor.name, None)
        return answer

    def _asked(
        self, said: Send | LookUp | Withdraw, route: Route
    ) -> Accepted | Located | Acceptance:
        match said:
            case Send(dsr, earlier):
                return route.processor.submit(self._request(dsr), earlier)
            case Withdraw(dsr):
                region = dsr.forwarding.region or route.regions[0]
                return route.processor.cancel(dsr.id, region)
        return _found(said.dsr, route)

    def _heard(self, route: Route, error: ProcessorError) -> ProcessorError:
        self._post.outages.heard(route.processor.name, error)
        return error

    def _request(self, dsr: Dsr) -> SubjectRequest:
        """The request as its processor is sent it. Raises ``SealBroken``."""
        about = particulars(self._post.desk, dsr)
        return SubjectRequest(
            id=dsr.id,
            regulation=dsr.regulation,
            type=dsr.type,
            submitted_at=dsr.received_at,
            identities=about.identities,
            callback_urls=self._post.routes.callback_urls,
            extensions=about.extensions,
        )

    # --- what is watched beside

    def _watch(self) -> None:
        """Look around if that is due: also if a request fails, which it may do every time."""
        if self._clock() >= self._watch_at and not self._stopping.is_set():
            self._look_around()

    def _look_around(self) -> None:
        alerts, watch = self._post.alerts, self._post.watch
        alerts.tell_of_outages(self._post.outages, [*self._post.routes.by_name], watch.outage)
        is_through = self._deadlines.look()
        alerts.forget_old()
        if is_through:
            self._watch_at = self._clock() + WATCH_EVERY


def _takes(route: Route, request: SubjectRequest) -> bool:
    try:
        route.processor.check(request)
    except Unsupported:
        return False
    return True


def _found(dsr: Dsr, route: Route) -> Located:
    """Where a request is, in whichever region may have it. Raises ``Gone`` if none has it.

    What one of them had counts for more than that others never had it.
    """
    gone = Gone(f"{route.processor.name}: no region has this request", status=404)
    known = dsr.forwarding.region
    for region in route.regions if known is None else (known,):
        try:
            return Located(region, route.processor.status(dsr.id, region))
        except Gone as error:
            gone = error if error.had_it else gone
    raise gone
