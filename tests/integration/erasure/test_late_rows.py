"""Late rows: what a delivery that began before an erasure brings of its subjects is taken out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import runners.erase_late as late
from runners.erase import run_erasure
from schemas.errors import ObjectChanged
from stores.log import Commit, DeliveryLog
from stores.objects import ObjectStore
from tests.erasing import (
    EMAIL,
    OTHER,
    deliver,
    emails_in,
    erase,
    order,
    runner,
    site,
)


def rows_of(lake: ObjectStore) -> late.LateRows:
    here = site(lake)
    return late.LateRows(lake, here.scrub_key, here.registry)


def delivered_late(lake: ObjectStore) -> Commit:
    erase(lake)
    return deliver(lake, "late", EMAIL, OTHER, knows=0)


def test_late_rows_leave_once_somebody_looks(store: ObjectStore) -> None:
    made = delivered_late(store)
    assert rows_of(store).cleanse(DeliveryLog(store).positions()) == 1
    assert emails_in(store, made.files[0].path) == [OTHER]
    assert DeliveryLog(store).positions().owed == ()


def test_delivery_that_knows_owes_no_look(lake: ObjectStore) -> None:
    erase(lake)
    known = DeliveryLog(lake).positions()
    deliver(lake, "new", OTHER, knows=known.knows)
    number = DeliveryLog(lake).last_number()
    now = DeliveryLog(lake).cleanliness_since(known)
    assert rows_of(lake).cleanse(now) == 0
    assert DeliveryLog(lake).last_number() == number


def test_another_erasure_takes_out_what_was_owed(lake: ObjectStore) -> None:
    made = delivered_late(lake)
    erase(lake, "nobody@acme.example")
    assert emails_in(lake, made.files[0].path) == [OTHER]


def test_file_that_changes_as_it_is_read_is_read_again(
    lake: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = delivered_late(lake)
    calls, rewrite = iter([True]), late.rewrite_file

    def changing(*arguments: Any) -> Any:
        if next(calls, False):
            raise ObjectChanged("another erasure was first")
        return rewrite(*arguments)

    monkeypatch.setattr(late, "rewrite_file", changing)
    assert rows_of(lake).cleanse(DeliveryLog(lake).positions()) == 1
    assert emails_in(lake, made.files[0].path) == [OTHER]


def test_late_rows_leave_though_their_suppression_has_expired(lake: ObjectStore) -> None:
    before = site(lake, clock=lambda: datetime.now(UTC) - timedelta(days=2))
    run_erasure(order(suppress_for=timedelta(days=1)), before, runner())
    made = deliver(lake, "late", EMAIL, OTHER, knows=0)
    assert rows_of(lake).cleanse(DeliveryLog(lake).positions()) == 1
    assert emails_in(lake, made.files[0].path) == [OTHER]


def test_subject_who_was_let_in_again_stays_when_another_is_looked_for(lake: ObjectStore) -> None:
    before = site(lake, clock=lambda: datetime.now(UTC) - timedelta(days=2))
    run_erasure(order(suppress_for=timedelta(days=1)), before, runner())
    heeded = DeliveryLog(lake).positions().knows
    erase(lake, OTHER)
    made = deliver(lake, "late", EMAIL, OTHER, knows=heeded)
    assert rows_of(lake).cleanse(DeliveryLog(lake).positions()) == 1
    assert emails_in(lake, made.files[0].path) == [EMAIL]


def test_damaged_file_stays_owed_and_stops_nobody(lake: ObjectStore) -> None:
    made = delivered_late(lake)
    lake.put(made.files[0].path, b"PAR1 damaged")
    assert rows_of(lake).cleanse(DeliveryLog(lake).positions()) == 0
    assert DeliveryLog(lake).positions().owed == (made.number,)
