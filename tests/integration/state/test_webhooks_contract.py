"""Webhooks and told alerts on every kind of state store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from schemas.access import Reach
from schemas.webhooks import Webhook
from stores.state.port import AlreadyThere
from stores.webhooks.port import TooManyWebhooks
from tests.integration.state.records import AnyState, Clock

ALL = Reach(None)
MINE = Reach("org-1")
MOST = 10


def a_webhook(clock: Clock, name: str = "hook-1", **changes: object) -> Webhook:
    hook = Webhook(
        id=name,
        organization="org-1",
        owner="user-1",
        url="https://receiver.example/hook",
        kinds=("dsr", "job"),
        created_at=clock(),
        place=7,
    )
    return replace(hook, **changes)  # type: ignore[arg-type]


def test_webhook_is_given_as_it_was_kept(state: AnyState, clock: Clock) -> None:
    hook = a_webhook(clock, rotated_at=clock(), of_owner="user-1")
    state.webhooks.add(hook, MOST)
    assert state.webhooks.get(hook.id, MINE) == hook
    with pytest.raises(AlreadyThere):
        state.webhooks.add(hook, MOST)


def test_webhook_of_others_is_not_there(state: AnyState, clock: Clock) -> None:
    state.webhooks.add(a_webhook(clock), MOST)
    for others in (Reach("org-2"), Reach("org-1", "user-2")):
        assert state.webhooks.get("hook-1", others) is None
        assert state.webhooks.find(others) == []
        assert not state.webhooks.remove("hook-1", others)
    assert len(state.webhooks.find(ALL)) == 1


def test_no_more_than_there_is_room_for_are_added(state: AnyState, clock: Clock) -> None:
    for name in ("hook-1", "hook-2"):
        state.webhooks.add(a_webhook(clock, name), 2)
    with pytest.raises(TooManyWebhooks):
        state.webhooks.add(a_webhook(clock, "hook-3"), 2)
    state.webhooks.add(a_webhook(clock, "hook-4", organization="org-2"), 2)
    state.webhooks.remove("hook-1", MINE)
    state.webhooks.add(a_webhook(clock, "hook-3"), 2)
    assert [hook.id for hook in state.webhooks.find(MINE)] == ["hook-2", "hook-3"]


def test_of_many_who_add_at_once_only_as_many_do_as_there_is_room_for(
    state: AnyState, clock: Clock
) -> None:
    start = threading.Barrier(8, timeout=30)

    def attempt(number: int) -> bool:
        state.webhooks.find(MINE)  # each with a connection of its own by now
        start.wait()
        try:
            state.webhooks.add(a_webhook(clock, f"hook-{number}"), 3)
        except TooManyWebhooks:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 3
    assert len(state.webhooks.find(MINE)) == 3


def test_change_is_refused_if_somebody_was_faster(state: AnyState, clock: Clock) -> None:
    hook = a_webhook(clock)
    state.webhooks.add(hook, MOST)
    changed = state.webhooks.change(replace(hook, place=9, failures=1))
    assert changed == replace(hook, place=9, failures=1, version=2)
    assert state.webhooks.change(replace(hook, place=8)) is None
    assert state.webhooks.get(hook.id, ALL) == changed


def test_removed_webhook_cannot_be_changed(state: AnyState, clock: Clock) -> None:
    hook = a_webhook(clock)
    state.webhooks.add(hook, MOST)
    assert state.webhooks.remove(hook.id, MINE)
    assert state.webhooks.change(replace(hook, place=9)) is None
    assert state.webhooks.get(hook.id, ALL) is None


def test_enabled_webhooks_come_a_page_at_a_time(state: AnyState, clock: Clock) -> None:
    for name in ("hook-3", "hook-1", "hook-2"):
        state.webhooks.add(a_webhook(clock, name), MOST)
    state.webhooks.add(a_webhook(clock, "hook-0", disabled_at=clock()), MOST)
    assert [hook.id for hook in state.webhooks.enabled("", 2)] == ["hook-1", "hook-2"]
    assert [hook.id for hook in state.webhooks.enabled("hook-2", 2)] == ["hook-3"]


def test_alert_is_remembered_once_and_until_it_is_forgotten(state: AnyState, clock: Clock) -> None:
    first, later = clock(), clock() + timedelta(hours=1)
    assert state.alerts.since("outage:one") is None
    assert state.alerts.remember("outage:one", first) == first
    assert state.alerts.remember("outage:one", later) == first
    state.alerts.forget("outage:one")
    assert state.alerts.since("outage:one") is None


def test_alerts_that_were_told_are_known_among_many(state: AnyState, clock: Clock) -> None:
    keys = [f"deadline:{n}:20261221:7" for n in range(100)]
    for key in keys[::9]:
        state.alerts.remember(key, clock())
    assert state.alerts.known(keys) == {*keys[::9]}


def test_old_alerts_are_forgotten(state: AnyState, clock: Clock) -> None:
    now: datetime = clock()
    state.alerts.remember("old", now - timedelta(days=2))
    state.alerts.remember("new", now)
    assert state.alerts.prune(now - timedelta(days=1)) == 1
    assert (state.alerts.since("old"), state.alerts.since("new")) == (None, now)
