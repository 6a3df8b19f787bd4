"""Delivery of webhooks: in order, at least once, signed, and patient within bounds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.dsr import DsrSection
from dsr.alerts import Alerts
from dsr.deadline_watch import DeadlineWatch
from dsr.desk import open_desk
from dsr.pauses import Pauses
from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.errors import LetheError
from schemas.events import Event, Topic
from schemas.webhooks import Webhook
from service.webhooks.deliver import LEASE, LEASE_SECONDS, Deliverer, Post
from service.webhooks.outcome import Patience
from stores.outbound import AddressRefused, Outbound, OutboundAnswer, OutboundRules, Unanswered
from stores.state.leadership import Leadership
from stores.state.sql import SqlState, open_state
from stores.webhooks.keys import WebhookKeys, signature
from tests.dsr_memory import Heard, MadeKeys, SetClock
from tests.dsr_requests import a_request

START = datetime(2026, 11, 21, 9, tzinfo=UTC)
ALL = Reach(None)


class Receiver(Outbound):
    """Takes what is sent; ``answers`` by URL say how, as statuses or errors."""

    def __init__(self) -> None:
        super().__init__(OutboundRules())
        self.taken: list[tuple[str, str]] = []
        self.sent: list[tuple[dict[str, str], bytes]] = []
        self.answers: dict[str, int | LetheError] = {}
        self.wishes: dict[str, str] = {}
        self.holds: dict[str, threading.Event] = {}

    def send(  # type: ignore[override]
        self, method: str, url: str, body: bytes, headers: dict[str, str]
    ) -> OutboundAnswer:
        assert method == "POST"
        if url in self.holds:
            self.holds[url].wait(10)
        answer = self.answers.get(url, 204)
        if isinstance(answer, LetheError):
            raise answer
        self.sent.append((headers, body))
        if 200 <= answer < 300:
            self.taken.append((url, headers["X-Lethe-Event"]))
        return OutboundAnswer(answer, self.wishes, b"")

    def of(self, url: str) -> list[str]:
        return [event for to, event in self.taken if to == url]


@dataclass
class Office:
    """A store with events, webhooks and one deliverer."""

    state: SqlState
    clock: SetClock
    receiver: Receiver = field(default_factory=Receiver)
    heard: Heard = field(default_factory=Heard)

    def hooked(self, name: str = "one", **changes: object) -> Webhook:
        hook = Webhook(
            id=name,
            organization="org-1",
            owner="user-1",
            url=f"https://{name}.example/hook",
            kinds=("dsr",),
            created_at=self.clock(),
            place=self.state.outbox.newest(),
        )
        hook = replace(hook, **changes)  # type: ignore[arg-type]
        self.state.webhooks.add(hook, 10)
        return hook

    def happened(self, topic: str, version: int = 1, **changes: object) -> str:
        kind, _, name = topic.partition(":")
        event = Event(Topic(kind, name), version, "org-1", "user-1", self.clock(), {"n": version})
        self.state.outbox.append(replace(event, **changes))  # type: ignore[arg-type]
        return f"{topic}:{version}"

    def post(self) -> Post:
        return Post(
            webhooks=self.state.webhooks,
            outbox=self.state.outbox,
            outbound=self.receiver,
            keys=WebhookKeys(MadeKeys()),
            callbacks=lambda *_: None,
            alerts=Alerts(self.state.alerts, self.heard, self.clock),
            patience=Patience(Pauses(2.0, 600.0), lambda _, high: high, timedelta(hours=20)),
            rotation=timedelta(hours=24),
            concurrency=4,
            clock=self.clock,
        )

    def deliverer(self, holder: str = "deliverer-1", post: Post | None = None) -> Deliverer:
        leases = self.state.leases
        leadership = Leadership(leases, LEASE, holder, LEASE_SECONDS, self.clock)
        return Deliverer(post or self.post(), leadership, threading.Event())

    def delivered(self, holder: str = "deliverer-1", post: Post | None = None) -> None:
        """All that a deliverer can deliver now; it ends in order."""
        with closing(self.deliverer(holder, post)) as deliverer:
            while deliverer.round() or deliverer.is_busy:
                continue

    def kept(self, name: str = "one") -> Webhook:
        hook = self.state.webhooks.get(name, ALL)
        assert hook is not None
        return hook


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    clock = SetClock(START)
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}", clock)) as state:
        yield Office(state, clock)


def test_events_come_in_order_and_once(office: Office) -> None:
    hook = office.hooked()
    events = [office.happened("dsr:a", 1), office.happened("dsr:b", 1), office.happened("dsr:a", 2)]
    office.delivered()
    office.delivered("deliverer-2")
    assert office.receiver.of(hook.url) == events


def test_deadline_that_is_near_is_told_once_though_drains_are_started_again(
    office: Office,
) -> None:
    office.hooked()
    dsr = a_request(due_at=START + timedelta(days=6))
    draft = AuditDraft("user-1", "org-1", "dsr.submitted", f"dsr:{dsr.id}")
    office.state.dsr.add([dsr], [draft])
    desk = open_desk(DsrSection(), office.state, MadeKeys(), office.clock)
    for _ in range(3):
        DeadlineWatch(desk, office.post().alerts, (7, 3), "drain").look()
        office.delivered()
    notices = [json.loads(body)["data"].get("notice") for _, body in office.receiver.sent]
    assert notices == [None, {"kind": "deadline_approaching", "days": 7}]


def test_what_happened_before_it_was_registered_is_not_told(office: Office) -> None:
    office.happened("dsr:a", 1)
    hook = office.hooked()
    later = office.happened("dsr:a", 2)
    office.delivered()
    assert office.receiver.of(hook.url) == [later]


def test_only_its_own_kinds_and_organization_are_told(office: Office) -> None:
    hook = office.hooked(of_owner="user-1")
    office.happened("job:a")
    office.happened("dsr:b", organization="org-2")
    office.happened("dsr:c", owner="user-2")
    office.happened("dsr:d", organization=None, owner=None)
    mine = office.happened("dsr:e")
    office.delivered()
    assert office.receiver.of(hook.url) == [mine]


def test_delivery_is_signed_by_its_key_over_time_and_body(office: Office) -> None:
    hook = office.hooked()
    office.happened("dsr:a")
    office.delivered()
    [(headers, body)] = office.receiver.sent
    secret = WebhookKeys(MadeKeys()).secret(hook.id, 1)
    stamp = int(headers["X-Lethe-Timestamp"])
    assert stamp == int(START.timestamp())
    assert headers["X-Lethe-Signature"] == f"k1={signature(secret, stamp, body)}"
    assert json.loads(body)["id"] == headers["X-Lethe-Event"] == "dsr:a:1"


def test_key_before_a_rotation_signs_too_for_a_day(office: Office) -> None:
    office.hooked(key_number=2, rotated_at=START)
    office.happened("dsr:a")
    office.delivered()
    office.clock.advance(hours=25)
    office.happened("dsr:b")
    office.delivered()
    names = [
        [one.partition("=")[0] for one in headers["X-Lethe-Signature"].split(",")]
        for headers, _ in office.receiver.sent
    ]
    assert names == [["k2", "k1"], ["k2"]]


@pytest.mark.parametrize(
    "failure",
    [500, 302, 404, Unanswered("no answer"), AddressRefused("not public any more")],
    ids=str,
)
def test_event_that_is_not_taken_is_sent_again_and_nothing_passes_it(
    office: Office, failure: int | LetheError
) -> None:
    hook = office.hooked()
    events = [office.happened("dsr:a", 1), office.happened("dsr:a", 2)]
    office.receiver.answers[hook.url] = failure
    office.delivered()
    assert (office.receiver.taken, office.kept().failures) == ([], 1)
    office.receiver.answers.clear()
    office.delivered()
    assert office.receiver.taken == []
    office.clock.advance(seconds=3)
    office.delivered()
    assert office.receiver.of(hook.url) == events
    assert (office.kept().failures, office.kept().failing_since) == (0, None)


def test_wish_to_be_left_alone_is_heeded(office: Office) -> None:
    hook = office.hooked()
    office.happened("dsr:a")
    office.receiver.answers[hook.url] = 429
    office.receiver.wishes["retry-after"] = "120"
    office.delivered()
    assert office.kept().next_try_at == START + timedelta(seconds=122)


def test_one_that_fails_or_hangs_holds_up_no_other(office: Office) -> None:
    bad, slow, good = (office.hooked(name) for name in ("bad", "slow", "well"))
    office.receiver.answers[bad.url] = 500
    office.receiver.holds[slow.url] = hold = threading.Event()
    with closing(office.deliverer()) as deliverer:
        events = [office.happened("dsr:a", 1)]
        while not office.receiver.of(good.url):
            deliverer.round()
        events.append(office.happened("dsr:a", 2))
        while len(office.receiver.of(good.url)) < 2:
            deliverer.round()
        assert office.receiver.of(slow.url) == []
        hold.set()
    assert office.receiver.of(good.url) == events


def test_webhook_that_fails_for_too_long_is_disabled_with_an_alert(office: Office) -> None:
    hook = office.hooked()
    office.happened("dsr:a")
    office.receiver.answers[hook.url] = 500
    for _ in range(23):
        office.delivered()
        office.clock.advance(hours=1)
    assert office.kept().disabled_reason == "the answer was 500"
    assert [alert.kind.value for alert in office.heard.alerts] == ["webhook_disabled"]
    assert hook.url not in repr(office.heard.alerts)


@pytest.mark.parametrize("addresses", [[], ["10.1.2.3"]])
def test_owner_is_not_told_which_names_there_are_inside(
    office: Office, addresses: list[str]
) -> None:
    office.hooked()
    office.happened("dsr:a")
    post = replace(office.post(), outbound=Outbound(OutboundRules(), lambda *_: addresses))
    for _ in range(23):
        office.delivered(post=post)
        office.clock.advance(hours=1)
    reason = "the URL does not lead to an address that is public"
    assert office.kept().disabled_reason == reason


def test_address_that_is_gone_is_disabled_at_once(office: Office) -> None:
    hook = office.hooked()
    office.happened("dsr:a")
    office.receiver.answers[hook.url] = 410
    office.delivered()
    assert office.kept().disabled_at == START


def test_owner_may_change_a_webhook_while_it_is_served(office: Office) -> None:
    hook = office.hooked()
    office.receiver.holds[hook.url] = hold = threading.Event()
    office.happened("dsr:a")
    with closing(office.deliverer()) as deliverer:
        deliverer.round()
        office.state.webhooks.change(replace(hook, key_number=2))
        hold.set()
        while deliverer.is_busy:
            deliverer.round()
    assert (office.kept().key_number, office.kept().place) == (2, office.state.outbox.newest())


def test_webhook_that_is_removed_while_it_is_served_stays_away(office: Office) -> None:
    hook = office.hooked()
    office.receiver.holds[hook.url] = hold = threading.Event()
    office.happened("dsr:a")
    with closing(office.deliverer()) as deliverer:
        deliverer.round()
        office.state.webhooks.remove(hook.id, ALL)
        hold.set()
        while deliverer.is_busy:
            deliverer.round()
    assert office.state.webhooks.find(ALL) == []


def test_deliverer_that_died_has_its_events_sent_again_under_the_same_ids(office: Office) -> None:
    hook = office.hooked()
    event = office.happened("dsr:a")
    office.deliverer("killed").round()
    while not office.receiver.taken:
        time.sleep(0.01)
    known = office.kept()
    office.state.webhooks.change(replace(known, place=hook.place))
    office.clock.advance(seconds=LEASE_SECONDS + 1)
    office.delivered("deliverer-2")
    assert set(office.receiver.of(hook.url)) == {event}


def test_events_that_are_none_of_its_are_not_looked_at_twice(office: Office) -> None:
    office.hooked()
    for n in range(450):
        office.happened("job:a", n + 1, organization="org-2")
    office.delivered()
    assert office.kept().place >= office.state.outbox.newest() - 200
