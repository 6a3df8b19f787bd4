"""Clients that hold on to connections: all others are served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.service_process import Service, running_service

THREADS = 2


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options = ("--workers", 1, "--threads", THREADS)
    env = {"LETHE_SERVICE__PAUSE_SECONDS": "1"}
    with running_service(tmp_path_factory.mktemp("service"), *options, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    return service.token("operator")


@contextmanager
def dripping(service: Service, head: bytes, next_bit: bytes) -> Iterator[None]:
    """A client that sends a bit of its request every now and then, until it is cut off."""
    done = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not done.wait(0.2):
                connection.sendall(next_bit)

    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head)
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def head_without_end(_: str) -> tuple[bytes, bytes]:
    return b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n"


def body_without_end(token: str) -> tuple[bytes, bytes]:
    return _post(token, "Content-Length: 100000"), b" "


def chunks_without_end(token: str) -> tuple[bytes, bytes]:
    return _post(token, "Transfer-Encoding: chunked"), b"1\r\n \r\n"


def _post(token: str, framing: str) -> bytes:
    head = (
        "POST /v1/enrichment HTTP/1.1", "Host: x", f"Authorization: Bearer {token}",
        "Content-Type: application/json", framing, "", "",
    )  # fmt: skip
    return "\r\n".join(head).encode()


@pytest.mark.parametrize("request_of", [head_without_end, body_without_end, chunks_without_end])
def test_clients_that_send_bit_by_bit_do_not_hold_all_threads(
    service: Service, token: str, request_of: Callable[[str], tuple[bytes, bytes]]
) -> None:
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            stack.enter_context(dripping(service, *request_of(token)))
        assert service.get("/healthz").status == 200


def test_clients_that_do_not_hang_up_hold_up_nobody(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert service.get("/healthz").status == 200


def test_none_of_them_is_a_mistake_in_the_log(service: Service) -> None:
    """Runs last."""
    assert "Traceback" not in service.logged()
    assert "Socket error" not in service.logged()
