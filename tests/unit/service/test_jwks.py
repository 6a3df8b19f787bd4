"""An issuer's keys: fetched seldom, kept through outages, and only those that may be used."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from schemas.errors import Unavailable, UsageError
from service.security.jwks import FRESH, PAUSE, STALE, Jwks, check_address, fetch_from, keys_of

ALGORITHMS = ("RS256", "ES256")
RSA = json.loads(
    jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key())
)
EC = json.loads(
    jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
)


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


class Issuer:
    """Publishes keys; counts how often it is asked."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.now = 1000.0
        self.asked = 0
        self.is_out = False

    def fetch(self) -> bytes:
        self.asked += 1
        if self.is_out:
            raise Unavailable("out")
        return key_set(*({**RSA, "kid": name} for name in self.names))

    def clock(self) -> float:
        return self.now

    def keys(self) -> Jwks:
        return Jwks(self.fetch, ALGORITHMS, self.clock)


def test_keys_are_fetched_once_while_they_are_fresh() -> None:
    issuer = Issuer("a", "b")
    keys = issuer.keys()
    for name in "abab":
        assert keys.find(name) is not None
    assert issuer.asked == 1


def test_flood_of_unknown_keys_asks_the_issuer_once_in_ten_seconds() -> None:
    issuer = Issuer("a")
    keys = issuer.keys()
    for number in range(1000):
        issuer.now += 0.05
        assert keys.find(f"unknown-{number}") is None
    assert issuer.asked == 1 + 50 // PAUSE - 1


def test_new_key_of_the_issuer_is_found_within_the_pause() -> None:
    issuer = Issuer("a")
    keys = issuer.keys()
    keys.find("a")
    issuer.names = ("a", "new")
    issuer.now += PAUSE
    assert keys.find("new") is not None


def test_withdrawn_key_is_refused_once_keys_are_not_fresh() -> None:
    issuer = Issuer("a", "b")
    keys = issuer.keys()
    keys.find("a")
    issuer.names = ("b",)
    issuer.now += FRESH
    assert keys.find("a") is None


def test_keys_outlive_an_outage_of_the_issuer() -> None:
    issuer = Issuer("a")
    keys = issuer.keys()
    keys.find("a")
    issuer.is_out = True
    issuer.now += STALE - 1
    assert keys.find("a") is not None


def test_keys_are_not_trusted_for_ever() -> None:
    issuer = Issuer("a")
    keys = issuer.keys()
    keys.find("a")
    issuer.is_out = True
    issuer.now += STALE
    with pytest.raises(Unavailable):
        keys.find("a")


def test_issuer_that_is_out_is_not_asked_for_each_request() -> None:
    issuer = Issuer("a")
    issuer.is_out = True
    keys = issuer.keys()
    for _ in range(100):
        with pytest.raises(Unavailable):
            keys.find("a")
    assert issuer.asked == 1


def test_garbage_does_not_replace_keys() -> None:
    issuer = Issuer("a")
    keys = issuer.keys()
    keys.find("a")
    issuer.names = ()
    issuer.now += FRESH
    assert keys.find("a") is not None


def test_threads_that_come_first_share_one_fetch() -> None:
    issuer = Issuer("a")
    keys, found = issuer.keys(), []
    start = threading.Barrier(8)

    def find() -> None:
        start.wait()
        found.append(keys.find("a"))

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (issuer.asked, len(found), None in found) == (1, 8, False)


def test_thread_without_keys_waits_for_the_fetch_under_way() -> None:
    issuer, fetching, ended = Issuer("a"), threading.Event(), threading.Event()

    def slow() -> bytes:
        fetching.set()
        ended.wait(0.3)  # for one who does not wait; who does is not heard of
        return issuer.fetch()

    keys = Jwks(slow, ALGORITHMS, issuer.clock)
    first = threading.Thread(target=keys.find, args=("a",))
    first.start()
    fetching.wait()
    try:
        assert keys.find("a") is not None
    finally:
        ended.set()
        first.join()


def test_key_is_for_the_algorithms_of_its_kind_that_are_allowed() -> None:
    found = keys_of(key_set({**RSA, "kid": "r"}, {**EC, "kid": "e"}), ("RS256", "PS256", "ES256"))
    assert found["r"].algorithms == ("RS256", "PS256")
    assert found["e"].algorithms == ("ES256",)


def test_key_that_says_its_algorithm_is_for_that_alone() -> None:
    found = keys_of(key_set({**RSA, "kid": "r", "alg": "PS256"}), ("RS256", "PS256"))
    assert found["r"].algorithms == ("PS256",)


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "x"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "RS256"},
        {**RSA, "kid": "x", "use": "enc"},
        {**RSA, "kid": "x", "alg": "HS256"},
        {**RSA, "kid": "x", "alg": "none"},
        {**RSA},
        {**RSA, "kid": "x", "n": "!"},
        {**EC, "kid": "x", "crv": "P-9"},
        {"kid": "x"},
        "x",
    ],
)
def test_key_that_may_not_be_used_is_left_out(key: Any) -> None:
    found = keys_of(key_set({**EC, "kid": "good"}, key), ALGORITHMS)
    assert [*found] == ["good"]


@pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys": []}'])
def test_answer_that_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(Unavailable):
        keys_of(document, ALGORITHMS)


@pytest.mark.parametrize(
    "url", ["http://idp.example/keys", "file:///etc/passwd", "https://", "https://u:p@idp/keys"]
)
def test_address_that_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="jwks_url"):
        check_address(url)


class Answer(BaseHTTPRequestHandler):
    """Answers by the path: a status, or ``/long`` for a body without end."""

    def do_GET(self) -> None:
        status = 200 if self.path in {"/keys", "/long"} else int(self.path[1:])
        self.send_response(status)
        self.send_header("Location", "/keys")
        self.end_headers()
        self.wfile.write(b" " * 1_000_000 if self.path == "/long" else b"keys")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Any:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_document_is_fetched(server: str) -> None:
    assert fetch_from(f"{server}/keys")() == b"keys"


@pytest.mark.parametrize("path", ["302", "404", "500", "long"])
def test_anything_but_a_short_good_answer_is_an_outage(server: str, path: str) -> None:
    with pytest.raises(Unavailable):
        fetch_from(f"{server}/{path}")()


def test_issuer_that_nobody_reaches_is_an_outage() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        fetch_from("http://127.0.0.1:9/keys")()
