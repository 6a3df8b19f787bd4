"""How certificates of processors are fetched, kept and fetched anew."""

from __future__ import annotations

import threading

import pytest

from schemas.errors import StoreUnavailable, UsageError
from stores.certificates import (
    FRESH,
    PAUSE,
    STALE,
    CertificateSource,
    chain_of,
    fetch_from,
    read_certificates,
    system_roots,
)
from stores.outbound import Outbound, OutboundRules, parse_networks
from tests.certificate_host import certificate_host
from tests.pki import Pki

SIGNER = Pki().signer()
OTHER = Pki().signer()
HERE = Outbound(OutboundRules(plain_http=True, networks=parse_networks(["127.0.0.0/8"])))


class Host:
    """Gives this PEM, or is down without one, and counts; its clock stands until it is moved."""

    def __init__(self, pem: bytes | None = SIGNER.pem) -> None:
        self.pem = pem
        self.asked = 0
        self.now = 1000.0

    def fetch(self) -> bytes:
        self.asked += 1
        if self.pem is None:
            raise StoreUnavailable("down")
        return self.pem

    def source(self) -> CertificateSource:
        return CertificateSource("example", self.fetch, lambda: self.now)


def test_certificates_are_fetched_once_while_fresh() -> None:
    host = Host()
    source = host.source()
    assert source.chain() == source.chain() == SIGNER.chain
    assert host.asked == 1


def test_certificates_are_fetched_anew_after_their_time() -> None:
    host = Host()
    source = host.source()
    source.chain()
    host.now, host.pem = host.now + FRESH, OTHER.pem
    assert source.chain() == OTHER.chain


def test_what_did_not_serve_is_fetched_anew_but_not_at_once_again() -> None:
    host = Host()
    source = host.source()
    first = source.chain()
    host.pem = OTHER.pem
    assert source.chain(other_than=first) == first
    host.now += PAUSE
    assert source.chain(other_than=first) == OTHER.chain
    assert host.asked == 2


def test_what_others_fetched_meanwhile_is_not_fetched_again() -> None:
    host = Host(OTHER.pem)
    source = host.source()
    source.chain()
    host.now += PAUSE
    assert source.chain(other_than=SIGNER.chain) == OTHER.chain
    assert host.asked == 1


def test_host_that_is_down_is_not_asked_at_every_callback() -> None:
    host = Host(None)
    source = host.source()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            source.chain()
    assert host.asked == 1


def test_certificates_outlast_an_outage_but_not_for_ever() -> None:
    host = Host()
    source = host.source()
    source.chain()
    host.pem, host.now = None, host.now + FRESH
    assert source.chain() == SIGNER.chain
    host.now += STALE
    with pytest.raises(StoreUnavailable):
        source.chain()


def test_threads_without_certificates_wait_for_the_fetch_under_way() -> None:
    host, fetching, ended = Host(), threading.Event(), threading.Event()
    fetch = host.fetch

    def slow() -> bytes:
        fetching.set()
        ended.wait(0.3)  # for one who does not wait; who does is not heard of
        return fetch()

    host.fetch = slow  # type: ignore[method-assign]
    source = host.source()
    first = threading.Thread(target=source.chain)
    first.start()
    fetching.wait()
    try:
        assert source.chain() == SIGNER.chain
    finally:
        ended.set()
        first.join()
    assert host.asked == 1


@pytest.mark.parametrize("bad", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_none(bad: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        chain_of(bad)


def test_more_certificates_than_a_chain_has_are_refused() -> None:
    with pytest.raises(StoreUnavailable, match="more than"):
        chain_of(SIGNER.pem * 6)


def test_certificate_is_fetched_over_http() -> None:
    with certificate_host(SIGNER.pem) as host:
        assert chain_of(fetch_from(HERE, host.url)()) == SIGNER.chain


def test_redirect_is_not_followed() -> None:
    with certificate_host(b"") as host:
        host.status, host.headers = 302, {"Location": host.url}
        with pytest.raises(StoreUnavailable, match="302"):
            fetch_from(HERE, host.url)()
        assert host.asked == 1


def test_answer_that_is_too_long_is_refused() -> None:
    with certificate_host(b"x" * 100_000) as host, pytest.raises(StoreUnavailable, match="long"):
        fetch_from(HERE, host.url)()


def test_private_address_is_not_asked() -> None:
    with certificate_host(SIGNER.pem) as host:
        with pytest.raises(StoreUnavailable, match="public"):
            fetch_from(Outbound(OutboundRules(plain_http=True)), host.url)()
        assert host.asked == 0


def test_roots_of_the_system_are_found() -> None:
    assert len(system_roots("callbacks.roots")) > 10


def test_file_that_holds_no_certificates_is_named(tmp_path) -> None:
    (tmp_path / "roots.pem").write_text("none")
    with pytest.raises(UsageError, match=r"callbacks\.roots"):
        read_certificates(tmp_path / "roots.pem", "callbacks.roots")
    with pytest.raises(UsageError, match="cannot be read"):
        read_certificates(tmp_path / "missing.pem", "callbacks.roots")
