"""One call to the enrichment API, by real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec
import pytest

from schemas.contacts import MAX_ROW, Reason
from stores.enrichment.api import EnrichmentApi
from stores.enrichment.errors import ApiMisused, BadCall, BatchNotEnriched, Unreachable
from tests.mock_api import Mock, running_mock

CONTACTS = [msgspec.Raw(b'{"id":"1"}'), msgspec.Raw(b'{"id":"2"}')]


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with running_mock() as running:
        yield running


def api_at(url: str, timeout: float = 2.0) -> EnrichmentApi:
    return EnrichmentApi(url, 2, timeout)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[EnrichmentApi]:
    """A client of a server that reads a request and then does this."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(MAX_ROW)
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield api_at(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.5)


def says(text: str) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text.encode())


def test_results_come_for_all_contacts(mock: Mock) -> None:
    found = api_at(mock.url).call(CONTACTS)
    assert [result["id"] for result in found] == ["1", "2"]


def test_the_same_contact_is_told_the_same_things(mock: Mock) -> None:
    assert api_at(mock.url).call(CONTACTS) == api_at(mock.url).call(CONTACTS)


def test_nobody_listening_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable):
        api_at(f"http://127.0.0.1:{port}").call(CONTACTS)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"outage": True}, Unreachable),
        ({"error_rate": 1.0}, BadCall),
        ({"rejected": ["2"]}, BatchNotEnriched),
        ({"breaking": ["1"]}, BadCall),
    ],
)
def test_a_status_says_who_is_to_blame(settings: dict[str, object], error: type[Exception]) -> None:
    with running_mock(**settings) as misbehaving, pytest.raises(error):
        api_at(misbehaving.url).call(CONTACTS)


def test_throttling_says_when_to_come_again() -> None:
    with running_mock(throttle=1.0) as slow:
        api = api_at(slow.url)
        api.call(CONTACTS)
        with pytest.raises(Unreachable) as raised:
            api.call(CONTACTS)
    assert (raised.value.throttled, raised.value.retry_after) == (True, 1.0)


def test_half_a_body_is_no_answer() -> None:
    half = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"results": []'
    with answering(says(half)) as api, pytest.raises(BadCall) as raised:
        api.call(CONTACTS)
    assert raised.value.reason is Reason.INVALID_ANSWER


def test_a_connection_that_is_cut_is_no_answer() -> None:
    with answering(lambda _: None) as api, pytest.raises(BadCall):
        api.call(CONTACTS)


def test_another_protocol_is_no_answer() -> None:
    with answering(says("220 mail.example.com ESMTP\r\n")) as api, pytest.raises(BadCall):
        api.call(CONTACTS)


def test_a_redirect_is_not_followed() -> None:
    moved = "HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n"
    with answering(says(moved)) as api, pytest.raises(ApiMisused, match="302"):
        api.call(CONTACTS)


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    with suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(100):
            time.sleep(0.1)
            connection.sendall(b" ")


@pytest.mark.parametrize("answer", [lambda _: time.sleep(5), drip], ids=["silence", "drip"])
def test_a_call_ends_in_time(answer: Callable[[socket.socket], None]) -> None:
    with answering(answer) as api, pytest.raises(BadCall) as raised:
        api.call(CONTACTS)
    assert raised.value.reason is Reason.API_TIMEOUT


def test_a_connection_is_free_again_after_a_bad_call(mock: Mock) -> None:
    with running_mock(malformed=1.0) as garbage:
        api = EnrichmentApi(garbage.url, 1, 2.0)
        for _ in range(8):
            try:
                api.call(CONTACTS)
            except BadCall:
                continue
        garbage.set(malformed=0.0)
        assert len(api.call(CONTACTS)) == 2
