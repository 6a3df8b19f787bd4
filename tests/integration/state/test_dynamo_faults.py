"""DynamoDB that throttles, refuses, hangs up: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.errors import AccessDenied, LetheError, StoreError, StoreUnavailable
from schemas.jobs import JobEnd, JobStatus, PartProgress
from stores.state.dynamo.state import DynamoState, open_dynamo_state
from tests.emulators import dynamodb_client
from tests.faults import CutAnswer, CutRequest, Fault, FaultProxy, LoseAnswer, Reply
from tests.integration.state.conftest import new_table
from tests.integration.state.dynamo_answers import SECRET, THROTTLED, cancelled, refused
from tests.integration.state.records import ALL, Clock, job, run

TRANSACTION = "TransactWriteItems"


@pytest.fixture
def proxy(ministack_url: str) -> Iterator[FaultProxy]:
    """ministack, which knows client request tokens, behind faults; moto passes tokens over."""
    with FaultProxy(ministack_url) as proxy:
        yield proxy


@pytest.fixture
def state(request: pytest.FixtureRequest, proxy: FaultProxy, clock: Clock) -> Iterator[DynamoState]:
    state = open_dynamo_state(new_table(request, proxy.url), clock)
    yield state
    state.close()


@pytest.mark.parametrize("fault", THROTTLED, ids=lambda fault: fault.body[40:110])
def test_a_change_that_is_throttled_is_made_later(
    state: DynamoState, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.inject(fault, times=3, target=TRANSACTION)
    state.jobs.add([job()])
    assert proxy.injected == 3
    assert state.jobs.get("j1", ALL) == job()


@pytest.mark.parametrize("fault", [CutRequest(10), LoseAnswer(), CutAnswer(0)], ids=repr)
def test_a_change_whose_answer_is_lost_is_made_once(
    state: DynamoState, proxy: FaultProxy, fault: Fault
) -> None:
    state.jobs.add([job()])
    proxy.inject(fault, times=2, target=TRANSACTION)
    begun = state.jobs.begin("j1", "r1")
    assert proxy.injected == 2
    assert begun is not None
    assert (begun.version, begun.attempts) == (2, 1)
    assert event_places(state) == [(1, 1), (2, 2)]


def test_a_claim_whose_answer_is_lost_is_ones_own(state: DynamoState, proxy: FaultProxy) -> None:
    proxy.inject(LoseAnswer(), target=TRANSACTION)
    assert state.leases.acquire("leader", "a", 30) is not None


def test_a_run_is_ended_once_though_the_answer_is_lost(
    state: DynamoState, proxy: FaultProxy
) -> None:
    state.runs.add(run())
    proxy.inject(LoseAnswer(), target=TRANSACTION)
    assert state.runs.request_cancel("r1")
    assert event_places(state) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("operation", ["GetItem", "Query", "BatchGetItem"])
@pytest.mark.parametrize("fault", [THROTTLED[0], LoseAnswer(), CutAnswer(5)], ids=repr)
def test_a_read_that_fails_is_made_again(
    state: DynamoState, proxy: FaultProxy, operation: str, fault: Fault
) -> None:
    state.jobs.add([job()])
    proxy.inject(fault, times=2, target=operation)
    assert state.jobs.get("j1", ALL) == job()
    assert state.jobs.unfinished(5) == [job()]
    assert proxy.injected == 2


def test_keys_that_were_not_read_are_asked_for_again(state: DynamoState, proxy: FaultProxy) -> None:
    state.jobs.add([job("j1"), job("j2")])
    keys = [{"pk": {"S": f"job#{name}"}, "sk": {"S": "record"}} for name in ("j1", "j2")]
    table = state.table.address.table
    part = {"Responses": {table: []}, "UnprocessedKeys": {table: {"Keys": keys}}}
    proxy.inject(Reply(200, json.dumps(part)), times=3, target="BatchGetItem")
    assert [found.id for found in state.jobs.unfinished(5)] == ["j1", "j2"]


def test_items_that_were_not_deleted_are_deleted_later(
    state: DynamoState, proxy: FaultProxy, clock: Clock
) -> None:
    state.runs.add(run())
    sent = {"DeleteRequest": {"Key": {"pk": {"S": "run#r1"}, "sk": {"S": f"event#{1:016d}"}}}}
    left = {"UnprocessedItems": {state.table.address.table: [sent]}}
    proxy.inject(Reply(200, json.dumps(left)), times=2, target="BatchWriteItem")
    clock.pass_by(1)
    assert state.outbox.prune(clock.now) == 1
    assert items_of(state, proxy, "run#r1") == ["record"]


def test_a_forgetting_that_was_cut_short_goes_on(
    state: DynamoState, proxy: FaultProxy, clock: Clock
) -> None:
    """The events themselves are gone, and the commit that leads to them is not."""
    state.runs.add(run())
    clock.pass_by(1)
    proxy.inject(refused("ValidationException"), target="BatchWriteItem")
    with pytest.raises(StoreError):
        state.outbox.prune(clock.now)
    assert state.outbox.prune(clock.now) == 1
    assert state.outbox.after(0, 9) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (refused("ThrottlingException"), StoreUnavailable),
        (cancelled("TransactionConflict", "None"), StoreUnavailable),
        (CutRequest(10), StoreUnavailable),
        (refused("AccessDeniedException"), AccessDenied),
        (refused("UnrecognizedClientException"), AccessDenied),
        (refused("ValidationException"), StoreError),
        (cancelled("ValidationError", "None"), StoreError),
        (refused("ResourceNotFoundException"), StoreError),
    ],
    ids=repr,
)
def test_what_does_not_pass_is_an_error_without_values(
    state: DynamoState, proxy: FaultProxy, quick: None, fault: Fault, kind: type[LetheError]
) -> None:
    proxy.inject(fault, times=50, target=TRANSACTION)
    with pytest.raises(kind) as caught:
        state.jobs.add([job(input_key=SECRET)])
    assert SECRET not in caught.value.message
    assert "Error" not in type(caught.value.__cause__).__name__


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes between attempts."""
    monkeypatch.setattr("tenacity.nap.time.sleep", abs)


def test_a_change_that_failed_leaves_nothing_half_written(
    state: DynamoState, proxy: FaultProxy, quick: None
) -> None:
    state.jobs.add([job()])
    proxy.inject(cancelled("TransactionConflict"), times=50, target=TRANSACTION)
    with pytest.raises(StoreUnavailable):
        state.jobs.finish("j1", None, JobEnd(JobStatus.FAILED))
    assert state.jobs.get("j1", ALL) == job()
    assert event_places(state) == [(1, 1)]


def test_an_end_is_kept_though_its_parts_could_not_be_cleared(
    state: DynamoState, proxy: FaultProxy
) -> None:
    state.jobs.add([job()])
    state.jobs.report("j1", PartProgress(1, 3, 0))
    proxy.inject(refused("ValidationException"), target="BatchWriteItem")
    ended = state.jobs.finish("j1", None, JobEnd(JobStatus.FAILED))
    assert proxy.injected == 1
    assert ended is not None
    assert ended.processed_batches == 3


def event_places(state: DynamoState) -> list[tuple[int, int]]:
    """The places of all events, with their versions."""
    return [(stored.place, stored.event.version) for stored in state.outbox.after(0, 99)]


def items_of(state: DynamoState, proxy: FaultProxy, partition: str) -> list[str]:
    """The sort keys of what a plain client finds."""
    found: Any = dynamodb_client(proxy.url).query(
        TableName=state.table.address.table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": partition}},
    )
    return [item["sk"]["S"] for item in found["Items"]]
