"""``lethe serve``: real processes that start, answer, and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Outcome, outcome, start
from tests.service_process import Service, running_service, service_environment

SECRET = "alice@example.com"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), "--workers", 1) as running:
        yield running


def refused(folder: Path, *options: object, **env: str) -> Outcome:
    """What ``lethe serve`` says that does not start."""
    variables = service_environment(folder, env)
    return outcome(start("serve", "--port", 0, *options, env=variables))


def raw(service: Service, *parts: bytes) -> bytes:
    """What comes back for these bytes, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        found = b""
        while chunk := receive(connection):
            found += chunk
    return found


def receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def error_of(answer: bytes) -> dict[str, str]:
    error: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return error


def test_service_says_where_it_listens_and_answers(service: Service) -> None:
    assert service.get("/readyz").status == 200
    assert service.get("/openapi/openapi.json").json["openapi"].startswith("3.1")


def test_token_of_the_command_line_lets_in(service: Service) -> None:
    assert service.get("/v1/runs").status == 401
    assert service.get("/v1/runs", token=service.token("viewer")).json["items"] == []


def test_what_is_no_http_is_answered_in_shape_and_not_repeated(service: Service) -> None:
    answer = raw(service, f"BAD {SECRET} x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert error_of(answer)["code"] == "bad_request"
    assert SECRET not in answer.decode() + service.logged()


def test_address_that_is_too_long_is_answered_in_shape(service: Service) -> None:
    answer = raw(service, b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert error_of(answer)["type"] == "request"


@pytest.mark.parametrize(
    "line", [b"X-Correlation-ID: a\nSet-Cookie: x=1", b"X-Correlation-ID: a\rSet-Cookie: x=1"]
)
def test_no_header_is_injected_by_a_correlation_id(service: Service, line: bytes) -> None:
    answer = raw(
        service, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + line + b"\r\n\r\n"
    )
    assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()


def test_oversized_chunked_body_is_refused(service: Service) -> None:
    head = (
        "POST /v1/enrichment HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: Bearer {service.token('operator')}\r\n"
        "Content-Type: application/json\r\n\r\n"
    )
    answer = raw(service, head.encode(), *chunks(33), b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def chunks(count: int) -> Iterator[bytes]:
    """64 KiB each."""
    for _ in range(count):
        yield b"10000\r\n" + b"x" * 65536 + b"\r\n"


def test_worker_that_is_killed_is_replaced(service: Service) -> None:
    [pid] = service.workers()
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while service.workers() in ([pid], []) and time.monotonic() < until:
        time.sleep(0.05)
    assert service.get("/healthz").status == 200


def test_request_under_way_ends_when_the_service_is_asked_to(tmp_path: Path) -> None:
    with running_service(tmp_path / "x", "--workers", 1) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n")
            ending = threading.Thread(target=service.terminate)
            time.sleep(0.3)
            ending.start()
            connection.sendall(b"\r\nbody")
            assert connection.recv(65536).startswith(b"HTTP/1.1 405 ")
        ending.join(30)
        assert service.process.returncode == 0
    assert "rror" not in service.logged().replace('"error": "none"', "")


def test_clients_that_pause_do_not_hold_threads_for_ever(tmp_path: Path) -> None:
    options, env = ("--workers", 1, "--threads", 2), {"LETHE_SERVICE__PAUSE_SECONDS": "1"}
    with running_service(tmp_path / "x", *options, env=env) as service:
        address = ("127.0.0.1", service.port)
        with socket.create_connection(address) as one, socket.create_connection(address) as two:
            one.sendall(b"GET /healthz HT")
            two.sendall(b"POST /v1/enrichment HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            assert service.get("/healthz").status == 200


def test_two_workers_share_one_state(tmp_path: Path) -> None:
    with running_service(tmp_path / "x") as service:
        assert len(service.workers()) == 2
        token = service.token("viewer")
        assert {service.get("/v1/runs", token=token).status for _ in range(8)} == {200}


def test_service_is_not_opened_to_others_without_keys(tmp_path: Path) -> None:
    said = refused(tmp_path, "--host", "0.0.0.0")
    assert said.status == 2
    assert "no keys are configured" in said.err


def test_address_that_is_taken_is_named(service: Service, tmp_path: Path) -> None:
    said = refused(tmp_path, "--port", service.port)
    assert said.status == 2
    assert f"cannot listen on 127.0.0.1:{service.port}" in said.err


def test_setting_that_is_wrong_is_named_before_anything_starts(tmp_path: Path) -> None:
    said = refused(tmp_path, LETHE_SERVICE__LIMITS__JSON_DEPTH="0")
    assert said.status == 2
    assert "service.limits.json_depth" in said.err
