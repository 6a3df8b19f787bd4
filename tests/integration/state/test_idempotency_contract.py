"""What every store of answers under idempotency keys does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.requests import (
    Answered,
    Claim,
    Claimed,
    InProgress,
    OtherRequest,
    StoredResponse,
)
from tests.integration.state.records import AnyState, Clock

ONE, OTHER = "1" * 64, "2" * 64
ANSWER = StoredResponse(202, b'{"requestId":"j1"}', {"Location": "/v1/enrichment/j1"})


def claim(state: AnyState, fingerprint: str = ONE) -> Claim:
    return state.idempotency.claim("key", fingerprint, lock_seconds=30, keep_seconds=3600)


def claimed(state: AnyState) -> str:
    found = claim(state)
    assert isinstance(found, Claimed)
    return found.token


def test_a_new_key_is_claimed_and_a_repeat_sees_it_in_progress(state: AnyState) -> None:
    claimed(state)
    assert claim(state) == InProgress()


def test_a_repeat_gets_the_answer(state: AnyState) -> None:
    assert state.idempotency.complete("key", claimed(state), ANSWER)
    assert claim(state) == Answered(ANSWER)


@pytest.mark.parametrize("answered", [True, False])
def test_a_key_is_of_one_request(state: AnyState, answered: bool) -> None:
    token = claimed(state)
    if answered:
        state.idempotency.complete("key", token, ANSWER)
    assert claim(state, OTHER) == OtherRequest()


def test_a_key_is_free_again_when_it_is_given_back(state: AnyState) -> None:
    state.idempotency.release("key", claimed(state))
    assert isinstance(claim(state, OTHER), Claimed)


def test_a_claim_whose_lock_ran_out_goes_to_another(state: AnyState, clock: Clock) -> None:
    old = claimed(state)
    clock.pass_by(30)
    new = claimed(state)
    assert not state.idempotency.complete("key", old, ANSWER)
    assert state.idempotency.complete("key", new, ANSWER)


def test_a_lost_claim_gives_nothing_back(state: AnyState, clock: Clock) -> None:
    old = claimed(state)
    clock.pass_by(30)
    claimed(state)
    state.idempotency.release("key", old)
    assert claim(state) == InProgress()


def test_an_answer_is_kept_once_and_cannot_be_given_back(state: AnyState) -> None:
    token = claimed(state)
    state.idempotency.complete("key", token, ANSWER)
    assert not state.idempotency.complete("key", token, StoredResponse(500, b""))
    state.idempotency.release("key", token)
    assert claim(state) == Answered(ANSWER)


def test_a_key_is_free_when_it_was_kept_for_long_enough(state: AnyState, clock: Clock) -> None:
    state.idempotency.complete("key", claimed(state), ANSWER)
    clock.pass_by(3600)
    assert isinstance(claim(state, OTHER), Claimed)


def test_only_what_is_past_its_time_is_forgotten(state: AnyState, clock: Clock) -> None:
    claimed(state)
    state.idempotency.claim("brief", ONE, 1, 60)
    clock.pass_by(60)
    assert state.idempotency.prune() == 1
    assert isinstance(claim(state), Claimed)


def test_of_several_at_once_one_gets_the_claim(state: AnyState) -> None:
    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            claims = [*pool.map(lambda _: claim(state), range(8))]
        (token,) = [found.token for found in claims if isinstance(found, Claimed)]
        assert claims.count(InProgress()) == 7
        state.idempotency.release("key", token)
