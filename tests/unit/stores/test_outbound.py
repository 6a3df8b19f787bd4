"""Requests to addresses that others chose: what is refused, and what is bounded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.outbound import (
    AddressRefused,
    Outbound,
    OutboundRules,
    Unanswered,
    is_allowed,
    parse_networks,
    split_url,
)

HERE = OutboundRules(plain_http=True, networks=parse_networks(["127.0.0.0/8"]), seconds=2.0)

NOT_PUBLIC = (
    "127.0.0.1 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 169.254.1.1 169.254.169.254 "
    "168.63.129.16 192.0.2.1 198.18.0.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 "
    ":: ::1 fe80::1 fc00::1 fd00:ec2::254 fec0::1 ff02::1 2001:db8::1 ::127.0.0.1 "
    "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::a00:1 64:ff9b::7f00:1 "
    "2002:7f00:1:: 2002:a9fe:a9fe::"
).split()

PUBLIC = "93.184.216.34 8.8.8.8 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808".split()

BAD_URLS = (
    "http://example.com/ ftp://example.com/ https:///x https://user@example.com/ "
    "https://user:pw@example.com/ https://example.com:0/ https://example.com:99999/ "
    "https://example.com/#part https://example.com./ https://exa%6dple.com/ https://[::1/ "
    "https://ex\u00e4mple.com/ javascript:alert(1) //example.com/ file:///etc/passwd"
).split()


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_address_that_is_not_public_is_not_allowed(address: str) -> None:
    assert not is_allowed(ip_address(address))


@pytest.mark.parametrize("address", ["192.0.0.8", "192.0.0.192", "192.88.99.1", "3fff::1"])
def test_address_that_some_versions_of_python_take_for_public_is_none(address: str) -> None:
    assert not is_allowed(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_allowed(address: str) -> None:
    assert is_allowed(ip_address(address))


@given(st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="fc00::/7"))
def test_private_address_is_not_allowed_in_any_disguise(address: object) -> None:
    assert not is_allowed(ip_address(str(address)))
    if "." in str(address):
        assert not is_allowed(ip_address(f"::ffff:{address}"))
        assert not is_allowed(ip_address(f"64:ff9b::{address}"))


@pytest.mark.parametrize(
    "address",
    ["169.254.170.2", "169.254.170.23", "fd00:ec2::23", "100.100.100.200", "192.0.0.192"],
)
def test_credentials_of_machines_are_in_no_network_of_the_operators(address: str) -> None:
    networks = parse_networks(["169.254.0.0/16", "fd00::/8", "100.64.0.0/10", "192.0.0.0/24"])
    assert not is_allowed(ip_address(address), networks)


def test_network_of_the_operators_is_allowed_but_for_metadata() -> None:
    networks = parse_networks(["10.20.0.0/16", "169.254.0.0/16"])
    assert is_allowed(ip_address("10.20.1.1"), networks)
    assert is_allowed(ip_address("::ffff:10.20.1.1"), networks)
    assert not is_allowed(ip_address("10.21.1.1"), networks)
    assert not is_allowed(ip_address("169.254.169.254"), networks)


@pytest.mark.parametrize("url", BAD_URLS)
def test_url_that_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        split_url(url, OutboundRules())
    assert url not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1", "[::1]"])
def test_loopback_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises((AddressRefused, Unanswered)):
        Outbound(OutboundRules(plain_http=True)).check(f"http://{host}/")


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    outbound = Outbound(OutboundRules(), lambda *_: ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(AddressRefused):
        outbound.check("https://example.com/")


def test_name_is_resolved_once_and_the_judged_address_is_connected_to() -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, heard):
        url = f"http://receiver.example:{port}/hook"
        assert Outbound(HERE, rebinding).send("POST", url, b"{}").status == 204
    assert asked == ["receiver.example"]
    assert heard[0].startswith(b"POST /hook HTTP/1.1\r\nHost: receiver.example:")


def test_redirect_is_an_answer_and_is_not_followed() -> None:
    with answering(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n") as (port, heard):
        assert Outbound(HERE).send("POST", f"http://127.0.0.1:{port}/").status == 302
    assert len(heard) == 1


def test_long_answer_is_cut() -> None:
    rules = OutboundRules(True, HERE.networks, 2.0, most_bytes=100)
    with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000) as (port, _):
        answer = Outbound(rules).send("GET", f"http://127.0.0.1:{port}/")
    assert (len(answer.body), answer.is_whole) == (100, False)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_answer_that_drips_is_given_up_in_time(begin: bytes) -> None:
    rules = OutboundRules(True, HERE.networks, seconds=0.3)
    with answering(begin, drips=True) as (port, _), pytest.raises(Unanswered):
        Outbound(rules).send("GET", f"http://127.0.0.1:{port}/")


def test_resolver_that_hangs_is_given_up_in_time() -> None:
    never = threading.Event()

    def hanging(host: str, port: int) -> list[str]:
        never.wait(30)
        return []

    with pytest.raises(Unanswered):
        Outbound(OutboundRules(seconds=0.1), hanging).check("https://example.com/")
    never.set()


def test_closed_port_and_garbage_are_no_answer() -> None:
    with answering(b"no HTTP at all\r\n\r\n") as (port, _), pytest.raises(Unanswered):
        Outbound(HERE).send("GET", f"http://127.0.0.1:{port}/")
    with pytest.raises(Unanswered):
        Outbound(HERE).send("GET", f"http://127.0.0.1:{port}/")


def test_header_of_two_lines_is_refused() -> None:
    with answering(b"") as (port, heard), pytest.raises(AddressRefused):
        Outbound(HERE).send("GET", f"http://127.0.0.1:{port}/", headers={"X-A": "1\r\nX-B: 2"})
    assert heard == []


@contextmanager
def answering(content: bytes, drips: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says this to whoever connects; what it was sent."""
    heard: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        speak: Callable[[socket.socket], None] = (
            _dripping(content, done) if drips else (lambda connection: connection.sendall(content))
        )
        thread = threading.Thread(target=_serve, args=(server, heard, speak), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            done.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(
    server: socket.socket, heard: list[bytes], speak: Callable[[socket.socket], None]
) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            heard.append(connection.recv(65536))
            try:
                speak(connection)
            except OSError:
                continue


def _dripping(begin: bytes, done: threading.Event) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        connection.sendall(begin)
        while not done.wait(0.05):
            connection.sendall(b"x")

    return speak
