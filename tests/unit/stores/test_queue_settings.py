"""The queue that the settings name, and what settings make no queue."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.dsr import DsrSection
from stores.queues.opening import open_queue
from stores.queues.rows import RowQueue
from stores.queues.sqs import SqsQueue, group_of
from stores.queues.sqs_client import SqsFifo
from tests.dsr_memory import Office
from tests.dsr_requests import a_request

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/lethe.fifo"


def test_rows_are_the_queue_unless_another_one_is_named() -> None:
    assert isinstance(open_queue(DsrSection(), Office().dsr), RowQueue)


def test_sqs_is_opened_without_being_called() -> None:
    section = DsrSection(queue="sqs", queue_url=URL)
    assert isinstance(open_queue(section, Office().dsr), SqsQueue)


@pytest.mark.parametrize(
    "given",
    [
        {"queue": "sqs"},
        {"queue": "kafka"},
        {"queue": "sqs", "queue_url": URL.removesuffix(".fifo")},
        {"queue": "sqs", "queue_url": "https://user:secret@sqs.example/1/lethe.fifo"},
    ],
)
def test_queue_that_cannot_be_used_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        DsrSection.model_validate(given)


def test_client_is_of_the_region_and_the_place_of_the_url() -> None:
    client = SqsFifo(URL).client
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.endpoint_url == "https://sqs.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("host", ["", ":1", "a..b", "[a"])
def test_address_that_is_none_lets_requests_be_taken_by_their_rows(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    queue = SqsFifo(f"https://{host}/lethe.fifo")
    queue.send("{}", "group", "once")
    assert queue.is_silent


def test_group_is_the_same_in_whatever_order_subjects_come() -> None:
    one, other = a_request(subjects=("a", "b")), a_request(subjects=("b", "a"))
    assert group_of(one) == group_of(other)
