"""The contract of queues of requests, on rows alone and with SQS; and what SQS may do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.dsr import Dsr, DsrStatus, RequestType
from stores.queues.port import RequestQueue
from stores.queues.rows import RowQueue
from stores.queues.sqs import SqsQueue
from stores.queues.sqs_client import SqsFifo
from stores.state.sql import SqlState, open_state
from tests.dsr_memory import SetClock
from tests.dsr_requests import RECEIVED, a_request
from tests.emulators import moto_url
from tests.request_queues import Fifo

__all__ = ["moto_url"]

DRAFT = AuditDraft("test", "org-1", "dsr.test", "dsr:any", {})


@dataclass
class Bench:
    """A store, a queue before it, and SQS behind that, if it is of that kind."""

    state: SqlState
    queue: RequestQueue
    fifo: Fifo | None = None

    def kept(self, *, told: bool = True, **changes: Any) -> Dsr:
        """A new request; its message gets lost unless ``told``."""
        dsr = a_request(**changes)
        self.state.dsr.add([dsr], [DRAFT])
        if told:
            self.queue.put(dsr)
        return dsr

    def changed(self, dsr: Dsr, **changes: Any) -> Dsr:
        forwarding = {name: changes.pop(name) for name in ("next_try_at",) if name in changes}
        new = replace(dsr, forwarding=replace(dsr.forwarding, **forwarding), **changes)
        kept = self.state.dsr.change(new, DRAFT)
        assert kept is not None
        return kept

    def taken(self, **after: float) -> list[str]:
        """What a round takes, so long after requests were received; it leaves all as it is."""
        now = RECEIVED + timedelta(**after)
        found = [dsr.id for dsr in self.queue.take(now, 200)]
        self.queue.settle(now)
        return found


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqlState]:
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}", SetClock())) as state:
        yield state


@pytest.fixture(params=["rows", "sqs"])
def bench(request: pytest.FixtureRequest, state: SqlState) -> Bench:
    if request.param == "rows":
        return Bench(state, RowQueue(state.dsr))
    return of_sqs(request, state)


@pytest.fixture
def sqs(request: pytest.FixtureRequest, state: SqlState) -> Bench:
    """With SQS, whose rows have just been looked through."""
    bench = of_sqs(request, state)
    bench.queue.take(RECEIVED, 1)
    return bench


def of_sqs(request: pytest.FixtureRequest, state: SqlState) -> Bench:
    fifo = Fifo.at(request.getfixturevalue("moto_url"))
    return Bench(state, fifo.queue(state.dsr), fifo)


def test_request_that_was_put_is_taken(bench: Bench) -> None:
    dsr = bench.kept()
    assert bench.taken() == [dsr.id]


def test_nothing_is_taken_from_an_empty_queue(bench: Bench) -> None:
    assert bench.taken() == []


def test_request_whose_message_was_lost_is_taken_within_a_minute(bench: Bench) -> None:
    bench.taken()
    dsr = bench.kept(told=False)
    assert bench.taken(minutes=1) == [dsr.id]


def test_request_that_was_put_twice_is_taken_once(bench: Bench) -> None:
    dsr = bench.kept()
    bench.queue.put(replace(dsr, version=2))
    assert bench.taken() == [dsr.id]


def test_request_is_taken_until_its_row_says_otherwise(bench: Bench) -> None:
    dsr = bench.kept()
    assert bench.taken() == bench.taken(minutes=2) == [dsr.id]
    bench.changed(dsr, status=DsrStatus.SUBMITTED)
    assert bench.taken(minutes=4) == []


@pytest.mark.parametrize("others", [("b",), ("a", "b"), ("b", "a")])
def test_of_a_subject_the_oldest_alone_is_taken(bench: Bench, others: tuple[str, ...]) -> None:
    first = bench.kept(subjects=("a",))
    later = RECEIVED + timedelta(seconds=1)
    second = bench.kept(subjects=("a", *others), type=RequestType.ACCESS, received_at=later)
    assert bench.taken(seconds=2) == [first.id]
    bench.changed(first, status=DsrStatus.SUBMITTED)
    assert bench.taken(minutes=2) == [second.id]


def test_parked_request_is_not_taken_and_holds_up_no_other(bench: Bench) -> None:
    first = bench.kept(subjects=("a",))
    second = bench.kept(
        subjects=("a",), type=RequestType.ACCESS, received_at=RECEIVED + timedelta(seconds=1)
    )
    bench.changed(first, parked_reason="it was tried often enough")
    assert bench.taken(minutes=1) == [second.id]


@pytest.mark.parametrize("status", [DsrStatus.HELD, DsrStatus.CANCELLED])
def test_request_that_is_not_queued_is_not_taken(bench: Bench, status: DsrStatus) -> None:
    bench.kept(status=status)
    assert bench.taken() == []


def test_request_that_was_put_off_is_taken_when_it_is_due(bench: Bench) -> None:
    dsr = bench.changed(bench.kept(), next_try_at=RECEIVED + timedelta(minutes=3))
    assert bench.taken() == []
    assert bench.taken(minutes=3) == [dsr.id]


def test_requests_beyond_the_limit_are_taken_later(bench: Bench) -> None:
    ids = {bench.kept(subjects=(f"s{n}",)).id for n in range(5)}
    found = {dsr.id for dsr in bench.queue.take(RECEIVED, 3)}
    assert len(found) == 3
    assert found < ids


def test_message_alone_has_a_request_taken(sqs: Bench) -> None:
    """That is, what follows says something of SQS and not of rows."""
    dsr = sqs.kept()
    assert sqs.taken(seconds=1) == [dsr.id]
    assert sqs.kept(told=False, subjects=("b",)).id not in sqs.taken(seconds=2)


def test_messages_of_many_are_taken_in_their_order(sqs: Bench) -> None:
    ids = [sqs.kept(subjects=(f"s{n}",)).id for n in range(25)]
    assert sqs.taken(seconds=1) == ids


def test_queue_tells_whether_it_waited_in_vain(sqs: Bench) -> None:
    assert sqs.fifo is not None
    patient = SqsQueue(sqs.state.dsr, SqsFifo(sqs.fifo.url, sqs.fifo.client), wait=1)
    assert patient.take(RECEIVED, 9) == []
    assert patient.has_waited
    patient.put(sqs.kept(told=False))
    patient.take(RECEIVED, 9)
    assert not patient.has_waited


def test_message_holds_an_id_and_hashes_alone(sqs: Bench) -> None:
    dsr = sqs.kept(subjects=("a" * 64,))
    assert sqs.fifo is not None
    [message] = sqs.fifo.messages()
    assert message["request"] == dsr.id
    assert message["MessageDeduplicationId"] == f"{dsr.id}-1"
    assert "a" * 64 not in str(message)
    assert len(message["MessageGroupId"]) == 64


def test_subjects_are_told_apart_by_groups_an_organization(sqs: Bench) -> None:
    assert sqs.fifo is not None
    for organization, subject in (("org-1", "a"), ("org-1", "b"), ("org-2", "a")):
        sqs.kept(organization=organization, subjects=(subject,))
    assert len({message["MessageGroupId"] for message in sqs.fifo.messages()}) == 3


def test_message_of_a_forwarded_request_is_deleted(sqs: Bench) -> None:
    assert sqs.fifo is not None
    sqs.changed(sqs.kept(), status=DsrStatus.SUBMITTED)
    sqs.taken(seconds=1)
    assert sqs.fifo.counts() == (0, 0)


def test_message_of_a_request_that_waits_on_is_hidden(sqs: Bench) -> None:
    assert sqs.fifo is not None
    sqs.changed(sqs.kept(), next_try_at=RECEIVED + timedelta(hours=1))
    sqs.taken(seconds=1)
    assert sqs.fifo.counts() == (0, 1)


@pytest.mark.parametrize(
    "body",
    ["", "ana.canary@example.com", '{"request": "x"}', '{"request": "", "more": 1}', '{"x": 1}'],
)
def test_message_that_is_none_of_ours_is_deleted_and_not_shown(
    sqs: Bench, body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sqs.fifo is not None
    sqs.fifo.send(body or " ")
    dsr = sqs.kept()
    assert sqs.taken(seconds=1) == [dsr.id]
    assert sqs.fifo.counts() == (0, 1)
    assert "canary" not in capsys.readouterr().out


def test_message_of_no_request_is_deleted(sqs: Bench) -> None:
    assert sqs.fifo is not None
    sqs.queue.put(a_request())
    assert sqs.taken(seconds=1) == []
    assert sqs.fifo.counts() == (0, 0)


def test_forged_message_lets_no_held_request_go(sqs: Bench) -> None:
    dsr = sqs.kept(status=DsrStatus.HELD)
    assert sqs.taken(seconds=1) == []
    found = sqs.state.dsr.get(dsr.id, Reach(None))
    assert found is not None
    assert found.status is DsrStatus.HELD


def test_older_request_whose_message_was_lost_goes_first(sqs: Bench) -> None:
    first = sqs.kept(told=False, subjects=("a",))
    sqs.kept(subjects=("a",), type=RequestType.ACCESS, received_at=RECEIVED + timedelta(seconds=1))
    assert sqs.taken(seconds=2) == []
    assert sqs.taken(minutes=1) == [first.id]


def test_requests_are_taken_by_rows_while_sqs_is_gone(state: SqlState) -> None:
    """Its address is of nobody; it is called once, and then left alone for a while."""
    now = [0.0]
    fifo = SqsFifo("http://127.0.0.1:9/1/gone.fifo", BrokenClient(), lambda: now[0])
    bench = Bench(state, SqsQueue(state.dsr, fifo))
    ids = [bench.kept(subjects=(f"s{n}",)).id for n in range(3)]
    assert sorted(bench.taken()) == sorted(bench.taken(seconds=1)) == sorted(ids)
    assert BrokenClient.calls == 1
    assert not bench.queue.has_waited
    now[0] = 31.0
    bench.taken(seconds=31)
    assert BrokenClient.calls == 2


class BrokenClient:
    """A client whose every call fails."""

    calls = 0

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> None:
            from botocore.exceptions import EndpointConnectionError

            BrokenClient.calls += 1
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

        return call
