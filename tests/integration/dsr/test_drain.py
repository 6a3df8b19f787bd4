"""The drain on a real store: processors that fail, drains that die, time in the test's hands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from config.dsr import DsrSection
from dsr.alerts import Alerts
from dsr.callbacks import Seal, sealed_with
from dsr.cancel import cancel
from dsr.changing import Step, change
from dsr.desk import Desk, open_desk
from dsr.drain import LEASE, LEASE_SECONDS, Drain, Post, Route, Routes, Watch
from dsr.forwarding import Outcome, Rules, retried
from dsr.outages import Outages
from dsr.pauses import Pauses, Silence
from dsr.submit import Order, Submitter, request_id_of, submit
from schemas.access import Reach
from schemas.alerts import Alert
from schemas.dsr import Dsr, DsrStatus, Identity, IdentityType
from schemas.errors import StoreError, Unavailable
from schemas.events import Topic
from schemas.opendsr.model import Acceptance, Dialect, ProcessingStatus, StatusReport
from stores.notify.port import NotTold
from stores.processors.errors import (
    Gone,
    ProcessorError,
    Refused,
    Unreachable,
    Unsettled,
    Unsupported,
)
from stores.processors.port import Accepted, Earlier
from stores.state.leadership import Leadership
from stores.state.sql import SqlState, open_state
from tests.dsr_memory import MadeKeys

ALL = Reach(None)
START = datetime(2026, 11, 21, 9, tzinfo=UTC)


class Died(BaseException):
    """The process was killed here."""


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class CountingProcessor:
    """A processor that counts what arrives; ``fails`` and ``dies`` say how calls go."""

    name: str = "one"
    dialect: Dialect = Dialect.SPECIFICATION_2
    arrived: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    fails: ProcessorError | None = None
    status_fails: ProcessorError | None = None
    fails_for: dict[str, ProcessorError] = field(default_factory=dict)
    reports: dict[str, StatusReport] = field(default_factory=dict)
    dies_before: set[str] = field(default_factory=set)
    dies_after: set[str] = field(default_factory=set)
    types: frozenset[str] = frozenset({"erasure", "portability", "access"})
    lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, request: object) -> None:
        if request.type not in self.types:  # type: ignore[attr-defined]
            raise Unsupported("does not take this type")

    def submit(self, request: object, earlier: Earlier | None = None) -> Accepted:
        request_id: str = request.id  # type: ignore[attr-defined]
        with self.lock:
            if request_id in self.dies_before:
                self.dies_before.remove(request_id)
                raise Died
            if self.fails is not None:
                raise self.fails
            if request_id in self.fails_for:
                raise self.fails_for[request_id]
            is_late = earlier is not None and self._has(request_id)
            if not is_late:
                self.arrived.append(request_id)
            if request_id in self.dies_after:
                self.dies_after.remove(request_id)
                raise Died
            return Accepted("eu", f"controller-{request_id}", None, None, is_late=is_late)

    def status(self, request_id: str, region: str) -> StatusReport:
        assert region == "eu"
        if self.status_fails is not None:
            raise self.status_fails
        if request_id in self.reports:
            return self.reports[request_id]
        if not self._has(request_id):
            raise Gone("no such request", status=404)
        return StatusReport(request_id, ProcessingStatus.PENDING, f"controller-{request_id}")

    def cancel(self, request_id: str, region: str) -> Acceptance:
        if self.fails is not None:
            raise self.fails
        self.cancelled.append(request_id)
        return Acceptance(request_id, region)

    def by_group(self, group_id: str, region: str) -> list[StatusReport]:
        raise NotImplementedError

    def discovery(self, region: str) -> object:
        raise NotImplementedError

    def close(self) -> None:
        return

    def _has(self, request_id: str) -> bool:
        self.asked.append(request_id)
        return request_id in self.arrived


@dataclass
class HeardAlerts:
    """Alerts as they arrive; none do while it is deaf."""

    heard: list[Alert] = field(default_factory=list)
    deaf: bool = False
    missed: int = 0

    def notify(self, alert: Alert) -> None:
        if self.deaf:
            self.missed += 1
            raise NotTold("nobody listens")
        self.heard.append(alert)

    @property
    def kinds(self) -> list[str]:
        return [alert.kind.value for alert in self.heard]


@dataclass
class House:
    """A store, a processor, alerts, and drains that come and go."""

    state: SqlState
    clock: Clock
    processor: CountingProcessor = field(default_factory=CountingProcessor)
    notifier: HeardAlerts = field(default_factory=HeardAlerts)
    max_attempts: int = 50
    others: tuple[CountingProcessor, ...] = ()
    seal: Seal | None = None

    @property
    def desk(self) -> Desk:
        return open_desk(DsrSection(), self.state, MadeKeys(), self.clock)

    def submitted(self, subject: str, index: int = 0, kind: str = "gdpr_delete") -> str:
        identity = Identity(IdentityType.EMAIL, f"{subject}.canary@example.com")
        request_id = request_id_of(f"{abs(hash((subject, index))):032x}"[-32:])
        by = Submitter("user-1", "org-1", Reach("org-1"))
        return submit(self.desk, Order(kind, [identity]), by, request_id).id

    def drain(self, holder: str = "drain-1") -> Drain:
        rules = Rules(
            Pauses(5.0, 300.0),
            lambda low, high: (low + high) / 2,
            self.max_attempts,
            self.seal or partial(sealed_with, self.desk),
            silence=Silence(3600.0, 86_400.0, lambda low, _: low),
        )
        routes = {one.name: Route(one, ("us", "eu")[1:]) for one in (self.processor, *self.others)}
        post = Post(
            desk=self.desk,
            routes=Routes(routes),  # type: ignore[arg-type]
            outages=Outages(Pauses(1.0, 60.0), lambda _, high: high, self.clock),
            alerts=Alerts(self.state.alerts, self.notifier, self.clock),
            rules=rules,
            watch=Watch(timedelta(minutes=15), (7, 3, 1, 0)),
            concurrency=4,
        )
        leases = self.state.leases
        leadership = Leadership(leases, LEASE, holder, LEASE_SECONDS, self.clock)
        return Drain(post, leadership, threading.Event())

    def drained(self, holder: str = "drain-1") -> dict[Outcome, int]:
        """What one round of a drain does that then ends in order."""
        with closing(self.drain(holder)) as drain:
            return dict(drain.round() or {})

    def killed(self, holder: str) -> None:
        """A drain that dies in the midst of a round, and leaves its lease behind."""
        with pytest.raises(Died):
            self.drain(holder).round()
        self.clock.advance(seconds=LEASE_SECONDS + 1)

    def get(self, request_id: str) -> Dsr:
        dsr = self.state.dsr.get(request_id, ALL)
        assert dsr is not None
        return dsr

    def status(self, request_id: str) -> str:
        return self.get(request_id).status.value


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = Clock()
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}", clock)) as state:
        yield House(state, clock)


def test_queued_requests_arrive_and_are_submitted(house: House) -> None:
    ids = [house.submitted(f"subject-{n}") for n in range(5)]
    assert house.drained() == {Outcome.FORWARDED: 5}
    assert sorted(house.processor.arrived) == sorted(ids)
    assert {house.status(one) for one in ids} == {"submitted"}
    assert house.get(ids[0]).forwarding.controller_id == f"controller-{ids[0]}"


def test_every_request_arrives_once_though_the_processor_is_down_and_drains_are_killed(
    house: House,
) -> None:
    """An hour without a processor; then one helper dies before it sends, another one after."""
    ids = [house.submitted(f"subject-{n}") for n in range(6)]
    house.processor.fails = Unreachable("it does not answer")
    drain = house.drain()
    until = house.clock() + timedelta(hours=1)
    while house.clock() < until:
        drain.round()
        house.clock.advance(minutes=5)
    assert house.processor.arrived == []
    house.processor.fails = None
    house.processor.dies_before, house.processor.dies_after = {ids[1]}, {ids[4]}
    house.clock.advance(minutes=10)
    house.killed("drain-2")
    house.clock.advance(minutes=10)
    house.drained("drain-4")
    assert sorted(house.processor.arrived) == sorted(ids)
    assert {house.status(one) for one in ids} == {"submitted"}


def test_request_that_arrived_before_a_death_is_not_sent_again(house: House) -> None:
    one = house.submitted("subject")
    house.processor.dies_after = {one}
    house.killed("drain-1")
    assert house.drained("drain-2") == {Outcome.FORWARDED: 1}
    assert (house.processor.arrived, house.processor.asked) == ([one], [one])


def test_two_drains_at_once_are_one(house: House) -> None:
    house.submitted("subject")
    first, second = house.drain("drain-1"), house.drain("drain-2")
    assert first.round() == {Outcome.FORWARDED: 1}
    assert second.round() is None
    first.close()
    assert second.round() == {}
    second.close()


def test_drain_that_was_paused_beyond_its_lease_sends_nothing(house: House) -> None:
    one, drain = house.submitted("subject"), house.drain("drain-1")
    drain.round()
    two = house.submitted("another")
    house.clock.advance(seconds=LEASE_SECONDS + 1)
    house.drained("drain-2")
    assert not drain.round() or house.processor.arrived.count(two) == 1
    assert house.processor.arrived == [one, two]


def test_requests_of_a_subject_go_in_order(house: House) -> None:
    first = house.submitted("subject")
    house.clock.advance(seconds=1)
    second = house.submitted("subject", 1, "export")
    house.processor.fails_for[first] = Unsettled("lost", region="eu")
    house.drained()
    assert (house.processor.arrived, house.status(second)) == ([], "queued")
    del house.processor.fails_for[first]
    house.clock.advance(minutes=5)
    house.drained()
    house.drained()
    assert house.processor.arrived == [first, second]


def test_request_that_always_fails_holds_up_no_other(house: House) -> None:
    bad = house.submitted("bad")
    house.processor.fails_for[bad] = Unreachable("500")
    good = [house.submitted(f"subject-{n}") for n in range(5)]
    house.drained()
    assert sorted(house.processor.arrived) == sorted(good)


def test_processor_that_is_down_is_not_asked_for_every_request(house: House) -> None:
    ids = [house.submitted(f"subject-{n}") for n in range(30)]
    house.processor.fails = Unreachable("down")
    with closing(house.drain()) as drain:
        done = drain.round()
    assert done is not None
    assert done[Outcome.PUT_OFF] < 10
    tried = [one for one in ids if house.get(one).forwarding.attempts]
    assert len(tried) == done[Outcome.PUT_OFF]


def test_refused_request_fails_and_says_why(house: House) -> None:
    one = house.submitted("subject")
    house.processor.fails = Refused("it does not take this", status=400)
    house.drained()
    dsr = house.get(one)
    assert (dsr.status, dsr.error_code) == (DsrStatus.FAILED, "processor_refused")


def test_request_is_parked_and_told_of_after_the_last_attempt(house: House) -> None:
    house.max_attempts = 2
    one = house.submitted("subject")
    house.processor.fails = Unreachable("down")
    for _ in range(4):
        house.drained()
        house.clock.advance(hours=1)
    assert house.get(one).parked_reason is not None
    assert house.notifier.kinds.count("request_parked") == 1
    assert "canary" not in repr(house.notifier.heard)


def test_parked_request_goes_on_when_somebody_has_it_tried_again(house: House) -> None:
    house.max_attempts = 1
    one = house.submitted("subject")
    house.processor.fails = Unreachable("down")
    house.drained()
    house.processor.fails = None
    assert house.drained() == {}
    change(house.desk, one, ALL, "cli", retried)
    house.clock.advance(minutes=5)
    assert house.drained() == {Outcome.FORWARDED: 1}


def test_parked_request_that_may_have_arrived_can_still_be_cancelled(house: House) -> None:
    house.max_attempts = 1
    one = house.submitted("subject")
    house.processor.fails = Unsettled("lost", region="eu")
    house.drained()
    assert house.get(one).parked_reason is not None
    house.clock.advance(minutes=5)
    cancel(house.desk, one, ALL, "user-1")
    assert house.drained() == {Outcome.CANCELLED: 1}


def test_queued_request_is_cancelled_and_never_arrives(house: House) -> None:
    one = house.submitted("subject")
    cancel(house.desk, one, ALL, "user-1")
    assert (house.drained(), house.processor.arrived) == ({}, [])


def test_forwarded_request_is_cancelled_at_its_processor_once_that_answers(house: House) -> None:
    one = house.submitted("subject")
    house.drained()
    cancel(house.desk, one, ALL, "user-1")
    house.processor.fails = Unreachable("down")
    house.drained()
    assert (house.status(one), house.processor.cancelled) == ("submitted", [])
    house.processor.fails = None
    house.clock.advance(minutes=5)
    house.drained()
    assert (house.status(one), house.processor.cancelled) == ("cancelled", [one])


def test_outage_is_told_of_once_and_again_only_after_it_was_over(house: House) -> None:
    drain = house.drain()
    house.processor.fails = Unreachable("down")
    house.submitted("subject")
    for _ in range(12):
        drain.round()
        house.clock.advance(minutes=6)
    assert house.notifier.kinds == ["processor_unreachable"]
    house.processor.fails = None
    for _ in range(3):
        drain.round()
        house.clock.advance(minutes=6)
    assert house.state.alerts.since("outage:one") is None


def test_drain_that_takes_over_goes_on_counting_the_outage(house: House) -> None:
    house.processor.fails = Unreachable("down")
    house.submitted("subject")
    house.drained("drain-1")
    house.clock.advance(minutes=10)
    house.drained("drain-2")
    house.clock.advance(minutes=10)
    house.drained("drain-3")
    assert house.notifier.kinds == ["processor_unreachable"]
    assert house.notifier.heard[0].details["minutes"] >= 15


def test_deadline_is_told_of_once_for_each_threshold(house: House) -> None:
    house.processor.fails = Unreachable("down")
    house.submitted("subject")
    drain = house.drain()
    for _ in range(34):
        drain.round()
        house.clock.advance(days=1)
    told = [one for one in house.notifier.heard if one.kind == "deadline_at_risk"]
    assert [one.details["days"] for one in told] == [7, 3, 1, 0]


def test_alert_that_nobody_heard_is_told_later(house: House) -> None:
    house.max_attempts, house.notifier.deaf = 1, True
    one = house.submitted("subject")
    house.processor.fails = Unreachable("down")
    house.drained()
    assert house.get(one).parked_reason is None
    house.notifier.deaf = False
    house.clock.advance(hours=1)
    house.drained()
    assert house.get(one).parked_reason is not None
    assert house.notifier.kinds.count("request_parked") == 1


def test_operators_who_cannot_be_told_are_not_tried_for_every_deadline(house: House) -> None:
    house.processor.fails = Unreachable("down")
    for n in range(3):
        house.submitted(f"subject-{n}")
    house.clock.advance(days=29)
    house.notifier.deaf = True
    house.drained()
    assert house.notifier.missed == 1
    house.notifier.deaf = False
    house.drained()
    assert house.notifier.kinds.count("deadline_at_risk") == 3


def test_request_goes_to_the_first_processor_that_takes_its_type(house: House) -> None:
    house.processor.types = frozenset({"portability"})
    house.others = (CountingProcessor("two"),)
    one = house.submitted("subject")
    house.drained()
    assert (house.processor.arrived, house.others[0].arrived) == ([], [one])
    assert house.get(one).forwarding.processor == "two"


def test_requests_of_a_processor_that_is_gone_hold_up_no_others(house: House) -> None:
    def went_there(dsr: Dsr, _: datetime) -> Step:
        gone = replace(dsr.forwarding, processor="gone", tried_at=START)
        return Step(replace(dsr, forwarding=gone), "forwarding")

    for n in range(200):
        change(house.desk, house.submitted(f"subject-{n}"), ALL, "drain", went_there)
    house.clock.advance(seconds=1)
    one = house.submitted("another")
    house.drained()
    assert house.processor.arrived == [one]


def test_request_whose_processor_is_gone_is_parked_and_told_of(house: House) -> None:
    house.others = (CountingProcessor("two"),)
    house.processor.types = frozenset()
    one = house.submitted("subject")
    house.drained()
    house.others = ()
    house.clock.advance(hours=1)
    assert house.drained() == {Outcome.PARKED: 1}
    assert "'two'" in str(house.get(one).parked_reason)
    assert house.notifier.kinds == ["request_parked"]
    house.others = (CountingProcessor("two", arrived=[one]),)
    change(house.desk, one, ALL, "cli", retried)
    assert house.drained() == {Outcome.ASKED: 1}


def test_request_in_a_region_that_is_gone_is_parked_and_its_processor_not_blamed(
    house: House,
) -> None:
    def moved(dsr: Dsr, _: datetime) -> Step:
        return Step(replace(dsr, forwarding=replace(dsr.forwarding, region="us")), "forwarded")

    one = house.submitted("subject")
    house.drained()
    change(house.desk, one, ALL, "drain", moved)
    house.clock.advance(hours=1)
    another = house.submitted("another")
    assert house.drained() == {Outcome.PARKED: 1, Outcome.FORWARDED: 1}
    assert "region 'us'" in str(house.get(one).parked_reason)
    assert house.status(another) == "submitted"


def test_callback_that_never_comes_is_made_up_for_by_asking(house: House) -> None:
    one = house.submitted("subject")
    house.drained()
    assert house.drained() == {}
    house.processor.reports[one] = StatusReport(one, ProcessingStatus.COMPLETED, "controller")
    house.clock.advance(minutes=59)
    assert house.drained() == {}
    house.clock.advance(minutes=1)
    assert house.drained() == {Outcome.ASKED: 1}
    assert house.status(one) == "completed"


def test_processor_is_asked_less_and_less_often(house: House) -> None:
    house.submitted("subject")
    house.drained()
    house.processor.asked.clear()
    for _ in range(7 * 24):
        house.clock.advance(hours=1)
        house.drained()
    assert len(house.processor.asked) == 11  # after 1, 2, 4, 8, 16 and 32 hours, then daily


def test_processor_that_is_down_is_not_asked_about_every_request(house: House) -> None:
    for n in range(30):
        house.submitted(f"subject-{n}")
    house.drained()
    house.clock.advance(hours=1)
    house.processor.status_fails = Unreachable("down")
    with closing(house.drain()) as drain:
        done = drain.round()
    assert done is not None
    assert 0 < done[Outcome.PUT_OFF] < 10


def test_asking_is_bounded_a_round_and_comes_after_what_is_to_be_sent(house: House) -> None:
    ids = [house.submitted(f"subject-{n}") for n in range(60)]
    house.drained()
    house.clock.advance(hours=1)
    sent = house.submitted("another")
    assert house.drained() == {Outcome.FORWARDED: 1, Outcome.ASKED: 50}
    assert house.drained() == {Outcome.ASKED: 10}
    assert {house.status(one) for one in (*ids, sent)} == {"submitted"}


def test_request_that_cannot_be_kept_does_not_keep_deadlines_from_being_told(
    house: House,
) -> None:
    def sent(dsr: Dsr, _: datetime) -> Step:
        there = replace(dsr.forwarding, processor="one", tried_at=START)
        changed = replace(dsr, forwarding=there, cancel_requested_at=START)
        return Step(changed, "cancel_requested")

    def not_kept(_: Dsr, __: str) -> bytes:
        raise StoreError("the store says no")

    one = house.submitted("subject")
    change(house.desk, one, ALL, "user-1", sent)
    told = StatusReport(one, ProcessingStatus.COMPLETED, "c", results_url="https://one.example")
    house.processor.reports[one] = told
    house.clock.advance(days=29)
    house.seal = not_kept
    with pytest.raises(StoreError):
        house.drained()
    assert "deadline_at_risk" in house.notifier.kinds


def test_request_that_others_change_all_the_time_is_left_and_holds_up_no_other(
    house: House,
) -> None:
    def overtaken(_: Dsr, __: str) -> bytes:
        raise Unavailable("others change it")

    one = house.submitted("subject")
    house.drained()
    told = StatusReport(one, ProcessingStatus.COMPLETED, "c", results_url="https://one.example")
    house.processor.reports[one] = told
    house.clock.advance(hours=2)
    house.submitted("another")
    house.seal = overtaken
    assert house.drained() == {Outcome.LEFT: 1, Outcome.FORWARDED: 1}


def test_every_step_is_an_event_and_an_entry_of_the_audit_log(house: House) -> None:
    one = house.submitted("subject")
    house.drained()
    versions = [event.version for event in house.state.outbox.of(Topic("dsr", one), 0, 10)]
    entries = [entry.draft.action for entry in house.state.audit.of(f"dsr:{one}", ALL)]
    assert versions == [1, 2, 3]
    assert entries == ["dsr.submitted", "dsr.forwarding", "dsr.forwarded"]
