"""One exchange with a region, by real sockets that behave badly."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from runners.mock_processor.identity import ProcessorIdentity
from schemas.errors import UsageError
from stores.processors.exchange import Exchange, NoAnswer, check_address, percent

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[Exchange]:
    """An exchange with a server that reads a request and then does this."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1 << 16)
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield Exchange(f"http://127.0.0.1:{server.getsockname()[1]}/v3", 2, 0.5)


def says(text: str) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text.encode())


def falls_silent(connection: socket.socket) -> None:
    """Until the other side has enough of it."""
    connection.settimeout(5)
    connection.recv(1)


def hangs_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def failure(exchange: Exchange) -> NoAnswer:
    with pytest.raises(NoAnswer) as raised:
        exchange.call("POST", "/requests", "Basic c2VjcmV0", b"{}")
    return raised.value


def test_nobody_listening_means_that_nothing_arrived() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not failure(Exchange(f"http://127.0.0.1:{port}/v3", 1, 1)).may_have_arrived


def test_silence_means_that_it_may_have_arrived() -> None:
    with answering(falls_silent) as exchange:
        assert failure(exchange).may_have_arrived


def test_hanging_up_means_that_it_may_have_arrived() -> None:
    with answering(hangs_up) as exchange:
        assert failure(exchange).may_have_arrived


def test_half_an_answer_is_none() -> None:
    with answering(says(OK.replace("Length: 2", "Length: 20"))) as exchange:
        assert failure(exchange).may_have_arrived


def test_answer_without_end_is_cut_off() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
        with suppress(OSError):
            while True:
                connection.sendall(b" " * 65536)

    with answering(flood) as exchange:
        assert failure(exchange).may_have_arrived


def test_head_that_comes_a_byte_at_a_time_is_not_waited_for() -> None:
    def trickle(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(10):
                connection.sendall(b"x")
                threading.Event().wait(0.2)
            connection.sendall(b"\r\nContent-Length: 2\r\n\r\n{}")

    with answering(trickle) as exchange:
        assert failure(exchange).may_have_arrived


@pytest.mark.parametrize("cut", [15, 24, 30])
def test_head_that_is_cut_off_says_nothing_of_the_request(cut: int) -> None:
    absent = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"
    with answering(says(absent[:cut])) as exchange:
        assert failure(exchange).may_have_arrived


def test_redirect_is_not_followed() -> None:
    moved = "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with answering(says(moved)) as exchange:
        assert exchange.call("POST", "/requests", None, b"{}").status == 307


def test_share_of_the_limit_and_wish_to_wait_are_read() -> None:
    limits = "X-mp-rate-limit-percentage-used: 81.5\r\nRetry-After: 7\r\n\r\n"
    with answering(says(OK.replace("\r\n\r\n", f"\r\n{limits}"))) as exchange:
        reply = exchange.call("GET", "/discovery", None)
    assert (reply.used_percent, reply.retry_after) == (81.5, 7.0)


@pytest.mark.parametrize("text", [None, "", "much", "nan", "-1", "inf"])
def test_what_is_no_share_is_passed_over(text: str | None) -> None:
    assert percent(text) is None


@contextmanager
def speaking_tls(folder: Path, identity: ProcessorIdentity) -> Iterator[int]:
    """A TLS server with this identity."""
    private = identity._key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + identity.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1 << 16)
                    secured.sendall(OK.encode())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_certificate_of_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    with speaking_tls(tmp_path, ProcessorIdentity("localhost")) as port:
        error = failure(Exchange(f"https://localhost:{port}", 1, 2))
    assert (error.is_untrusted, error.may_have_arrived) == (True, False)


def test_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    identity = ProcessorIdentity("processor.example")
    (tmp_path / "ca.pem").write_bytes(identity.root)
    with speaking_tls(tmp_path, identity) as port:
        error = failure(Exchange(f"https://localhost:{port}", 1, 2, tmp_path / "ca.pem"))
    assert error.is_untrusted


def test_certificate_of_a_configured_authority_is_trusted(tmp_path: Path) -> None:
    identity = ProcessorIdentity("localhost")
    (tmp_path / "ca.pem").write_bytes(identity.root)
    with speaking_tls(tmp_path, identity) as port:
        reply = Exchange(f"https://localhost:{port}", 1, 2, tmp_path / "ca.pem").call(
            "GET", "/discovery", None
        )
    assert reply.status == 200


@pytest.mark.parametrize(
    "url",
    ["http://processor.example/v3", "ftp://processor.example", "https://a:b@processor.example",
     "https://processor.example/v3?key=1", "https://", "processor.example"],
)  # fmt: skip
def test_address_that_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        check_address(url)
