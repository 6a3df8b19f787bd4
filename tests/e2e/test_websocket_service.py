"""The WebSocket of a real service of two processes: what clients are told, and what they may do."""

from __future__ import annotations

import base64
import itertools
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.websocket_clients import Writer, talking, writing
from tests.service_process import Service, running_service

ENV = {
    "LETHE_ENV": "test",
    "LETHE_SERVICE__SOCKETS__AUTHENTICATE_SECONDS": "1",
    "LETHE_SERVICE__SOCKETS__MAX_PER_PRINCIPAL": "6",
}
PIECE = "x" * 50_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), env=ENV) as running:
        yield running


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    return service.token("operator")


@pytest.fixture(scope="module")
def writer(service: Service) -> Iterator[Writer]:
    with writing(service) as made:
        yield made


def test_clients_of_all_processes_see_each_version_in_order(
    service: Service, token: str, writer: Writer
) -> None:
    run = writer.add_run()
    with ExitStack() as stack:
        talkers = [stack.enter_context(talking(service, token)) for _ in range(6)]
        assert [t.subscribe(f"run:{run}")["data"]["version"] for t in talkers] == [2] * 6
        for count in range(1, 21):
            writer.advance(run, count)
        assert [t.hear_updates(20) for t in talkers] == [[*range(3, 23)]] * 6


def test_client_that_comes_back_goes_on_from_where_it_was(
    service: Service, token: str, writer: Writer
) -> None:
    run = writer.add_run()
    with talking(service, token) as talker:
        talker.subscribe(f"run:{run}")
        writer.advance(run, 1)
        assert talker.hear_updates(1) == [3]
    for count in range(2, 6):
        writer.advance(run, count)
    with talking(service, token) as talker:
        assert talker.resume(f"run:{run}@3")["data"]["action"] == "resumed"
        writer.advance(run, 6)
        assert talker.hear_updates(5) == [4, 5, 6, 7, 8]


def test_no_version_is_lost_or_repeated_by_clients_that_come_while_it_changes(
    service: Service, token: str, writer: Writer
) -> None:
    run, done = writer.add_run(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        changes = pool.submit(change_until, writer, run, done)
        try:
            for _ in range(20):
                with talking(service, token) as talker:
                    first = talker.subscribe(f"run:{run}")["data"]["version"]
                    assert talker.hear_updates(5) == [*range(first + 1, first + 6)]
        finally:
            done.set()
        changes.result()


def change_until(writer: Writer, run: str, done: threading.Event) -> None:
    for count in itertools.count():
        writer.advance(run, count)
        if done.wait(0.002):
            return


def test_all_jobs_are_told_of_and_gone_on_with_by_place(
    service: Service, token: str, writer: Writer
) -> None:
    with talking(service, token) as talker:
        talker.subscribe("jobs")
        writer.add_job()
        place = talker.hear()["data"]["place"]
    missed = [writer.add_job() for _ in range(2)]
    with talking(service, token) as talker:
        assert talker.resume(f"jobs@{place}")["data"]["action"] == "resumed"
        told = [talker.hear()["data"]["resource"] for _ in range(2)]
    assert told == [f"job:{job}" for job in missed]


def test_job_of_another_organization_is_answered_as_one_that_is_not_there(
    service: Service, token: str, writer: Writer
) -> None:
    theirs = writer.add_job(organization="org-9")
    with talking(service, token) as talker:
        errors = [talker.subscribe(f"job:{name}")["error"] for name in (theirs, "nothing")]
    for error in errors:
        del error["timestamp"]
    assert errors[0] == errors[1]
    assert errors[0]["code"] == "not_found"


def test_all_jobs_leave_out_those_of_others(service: Service, token: str, writer: Writer) -> None:
    with talking(service, token) as talker:
        items = talker.subscribe("jobs")["data"]["items"]
        theirs, ours = writer.add_job(organization="org-9"), writer.add_job()
        assert talker.hear()["data"]["resource"] == f"job:{ours}"
    assert f"job:{theirs}" not in [item["resource"] for item in items]


def test_submitter_sees_only_jobs_of_their_own(service: Service, writer: Writer) -> None:
    own, others = writer.add_job(owner="user-2"), writer.add_job(owner="user-1")
    with talking(service, service.token("submitter", subject="user-2")) as talker:
        assert talker.subscribe(f"job:{own}")["data"]["action"] == "snapshot"
        assert talker.subscribe(f"job:{others}")["error"]["code"] == "not_found"
        assert talker.subscribe("runs")["error"]["code"] == "forbidden"


def test_who_never_authenticates_is_closed(service: Service) -> None:
    with talking(service) as talker:
        assert talker.close_code() == 4401


def test_who_shows_a_bad_token_is_closed_and_told_why(service: Service) -> None:
    with talking(service) as talker:
        error = talker.ask("auth", action="authenticate", token="bad.bad.bad")["error"]
        assert (error["type"], error["code"]) == ("authentication", "not_authenticated")
        assert "development" not in error
        assert talker.close_code() == 4401


def test_who_floods_is_closed(service: Service, token: str) -> None:
    with talking(service, token) as talker:
        with suppress(ConnectionClosed):
            for _ in range(2_000):
                talker.say("ping")
        assert talker.close_code() == 1008


def test_who_sends_binary_is_closed(service: Service, token: str) -> None:
    with talking(service, token) as talker:
        talker.socket.send(b"binary")
        assert talker.close_code() == 1003


def test_who_sends_ten_megabytes_is_closed(service: Service, token: str) -> None:
    with talking(service, token) as talker:
        with suppress(ConnectionClosed):
            talker.socket.send("x" * 10_000_000)
        assert talker.close_code() == 1009


def test_who_reads_nothing_is_dropped_and_others_see_everything(
    service: Service, token: str, writer: Writer
) -> None:
    job = writer.add_job()
    with deaf_client(service, token, f"job:{job}") as deaf, talking(service, token) as talker:
        talker.subscribe(f"job:{job}")
        for version in range(2, 62):
            writer.tell(job, version, {"filling": PIECE})
            assert talker.hear_updates(1) == [version]
        assert was_dropped(deaf)
    assert "its client reads too slowly" in service.logged()


def deaf_client(service: Service, token: str, name: str) -> socket.socket:
    """A client that subscribes, and then never reads."""
    sock = handshake(service, {}, small=True)
    assert b" 101 " in sock.recv(4096)
    for text in (
        f'{{"type":"auth","data":{{"action":"authenticate","token":"{token}"}}}}',
        f'{{"type":"message","data":{{"action":"subscribe","message":"{name}"}}}}',
    ):
        sock.sendall(masked(text.encode()))
        assert b'"action":' in sock.recv(4096)
    return sock


def was_dropped(sock: socket.socket) -> bool:
    """Whether the stream ends before the last of what was sent."""
    size = 0
    try:
        while data := sock.recv(1 << 20):
            size += len(data)
    except ConnectionResetError:
        pass
    return size < 60 * len(PIECE)


def masked(text: bytes) -> bytes:
    """A frame; blanks make the text long enough for the form with two bytes of length."""
    padded = text.ljust(200)
    return b"\x81\xfe" + len(padded).to_bytes(2) + b"\0\0\0\0" + padded


def handshake(service: Service, headers: dict[str, str], small: bool = False) -> socket.socket:
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.settimeout(15)
    sock.connect(("127.0.0.1", service.port))
    given = {
        "Host": f"127.0.0.1:{service.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    sock.sendall(f"GET /ws HTTP/1.1\r\n{lines}\r\n".encode())
    return sock


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Upgrade": "h2c"}, 400),
        ({"Host": ""}, 400),
        ({"Content-Length": "5"}, 400),
        ({"Transfer-Encoding": "chunked"}, 400),
    ],
)
def test_handshake_that_is_not_taken_gets_an_error_of_our_shape(
    service: Service, headers: dict[str, str], status: int
) -> None:
    with handshake(service, headers) as sock:
        answer = b""
        while b"}}" not in answer:
            answer += sock.recv(8192)
    assert int(answer.split()[1]) == status
    assert b'"correlationId"' in answer


def test_page_of_the_service_itself_may_connect(service: Service, token: str) -> None:
    with talking(service, token, origin=service.url) as talker:
        assert talker.ask("ping")["type"] == "pong"


def test_page_of_another_origin_may_not_connect(service: Service) -> None:
    with pytest.raises(InvalidStatus), talking(service, origin="http://127.0.0.1:1"):
        pass


def test_compression_is_never_agreed_on(service: Service) -> None:
    with talking(service, compression="deflate") as talker:
        response = talker.socket.response
        assert response is not None
        assert "Sec-WebSocket-Extensions" not in response.headers


def test_no_token_is_in_the_log(service: Service, token: str) -> None:
    with talking(service, token) as talker:
        talker.ask("ping")
    assert token not in service.logged()


@pytest.fixture
def small_service(tmp_path: Path) -> Iterator[Service]:
    more = {"LETHE_SERVICE__SOCKETS__MAX_PER_WORKER": "3", **ENV}
    with running_service(
        tmp_path, "--workers", 1, env={**more, "LETHE_SERVICE__SOCKETS__MAX_PER_PRINCIPAL": "2"}
    ) as running:
        yield running


def test_full_process_sends_others_away(small_service: Service) -> None:
    tokens = [small_service.token("operator", subject=f"user-{n}") for n in range(2)]
    with ExitStack() as stack:
        for token in (tokens[0], tokens[0], tokens[1]):
            stack.enter_context(talking(small_service, token))
        with talking(small_service) as fourth:
            assert fourth.close_code() == 1013


def test_principal_with_connections_enough_is_sent_away(small_service: Service) -> None:
    token = small_service.token("operator")
    with talking(small_service, token), talking(small_service, token), talking(small_service) as t:
        t.say("auth", action="authenticate", token=token)
        assert t.close_code() == 1013


def test_process_that_ends_says_so_and_does_not_wait_for_the_deaf(small_service: Service) -> None:
    token = small_service.token("operator")
    with deaf_client(small_service, token, "jobs"), talking(small_service, token) as talker:
        small_service.process.terminate()
        assert talker.close_code() == 1001
        assert small_service.process.wait(20) == 0
