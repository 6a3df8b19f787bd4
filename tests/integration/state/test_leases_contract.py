"""What every store of leases does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.schedule import Lease
from stores.state.port import LeaseLost, State
from tests.integration.state.records import Clock

NAME = "schedule:default"


def acquired(state: State, holder: str, seconds: float = 30) -> Lease:
    lease = state.leases.acquire(NAME, holder, seconds)
    assert lease is not None
    return lease


def test_the_first_one_gets_it_and_the_second_does_not(state: State) -> None:
    assert acquired(state, "a").token == 1
    assert state.leases.acquire(NAME, "b", 30) is None


def test_leases_of_other_names_are_free(state: State) -> None:
    acquired(state, "a")
    assert state.leases.acquire("schedule:other", "b", 30) is not None


def test_an_expired_lease_goes_to_another_with_a_greater_token(state: State, clock: Clock) -> None:
    acquired(state, "a")
    clock.pass_by(29.9)
    assert state.leases.acquire(NAME, "b", 30) is None
    clock.pass_by(0.1)
    assert acquired(state, "b").token == 2


def test_a_renewed_lease_lasts_from_now_under_the_same_token(state: State, clock: Clock) -> None:
    lease = acquired(state, "a")
    clock.pass_by(20)
    renewed = state.leases.renew(lease, 30)
    clock.pass_by(29)
    assert renewed.token == lease.token
    assert state.leases.acquire(NAME, "b", 30) is None


def test_an_expired_lease_cannot_be_renewed_even_if_nobody_took_it(
    state: State, clock: Clock
) -> None:
    lease = acquired(state, "a")
    clock.pass_by(30)
    with pytest.raises(LeaseLost):
        state.leases.renew(lease, 30)


def test_a_lease_that_was_taken_and_taken_back_is_another_one(state: State, clock: Clock) -> None:
    old = acquired(state, "a")
    for holder in ("b", "a"):
        clock.pass_by(31)
        acquired(state, holder)
    with pytest.raises(LeaseLost):
        state.leases.renew(old, 30)


def test_a_released_lease_is_free_at_once(state: State) -> None:
    state.leases.release(acquired(state, "a"))
    assert acquired(state, "b").token == 2


def test_releasing_a_lost_lease_leaves_its_new_holder_alone(state: State, clock: Clock) -> None:
    old = acquired(state, "a")
    clock.pass_by(31)
    acquired(state, "b")
    state.leases.release(old)
    assert state.leases.acquire(NAME, "c", 30) is None


def test_the_current_lease_is_shown(state: State) -> None:
    assert state.leases.current(NAME) is None
    lease = acquired(state, "a")
    assert state.leases.current(NAME) == lease


@pytest.mark.parametrize("expired", [False, True], ids=["never given", "expired"])
def test_of_many_who_want_it_one_gets_it(state: State, clock: Clock, expired: bool) -> None:
    if expired:
        acquired(state, "before")
        clock.pass_by(31)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: state.leases.acquire(NAME, f"h{n}", 30), range(24)))
    assert len([lease for lease in got if lease is not None]) == 1
