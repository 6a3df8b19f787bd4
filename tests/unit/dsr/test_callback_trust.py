"""Which domains and certificates are believed, and which signatures."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from hypothesis import given
from hypothesis import strategies as st

from dsr.signing import BadSignature, check_signature, sign
from dsr.trust import NotTrusted, Peer, Trust, fingerprint_of, peer_of
from schemas.domains import domain_of_people
from tests.pki import DOMAIN, NOW, Authority, Pki, ec_key, rsa_key

PKI = Pki()
PEER = Peer("example", DOMAIN)
PEERS = {DOMAIN: PEER}
TRUST = Trust([PKI.root.certificate])
BODY = b'{"request_status": "completed"}'


def refused(chain: tuple, peer: Peer = PEER, at=NOW) -> str:
    with pytest.raises(NotTrusted) as caught:
        Trust([PKI.root.certificate]).key_of(peer, chain, at)
    return str(caught.value)


def test_good_chain_gives_the_key_of_its_certificate() -> None:
    signer = PKI.signer()
    found = TRUST.key_of(PEER, signer.chain, NOW)
    assert found.key.public_numbers() == signer.key.public_key().public_numbers()


@pytest.mark.parametrize("written", ["OpenDSR.Example.COM", f" {DOMAIN}\t", DOMAIN])
def test_domain_is_found_however_it_is_written(written: str) -> None:
    assert peer_of(PEERS, written) is PEER


@pytest.mark.parametrize(
    "trick",
    [
        f"{DOMAIN}.evil.example",
        f"evil.{DOMAIN}",
        f"evil-{DOMAIN}",
        "example.com",
        f"{DOMAIN}.",
        f".{DOMAIN}",
        f"{DOMAIN}:443",
        f"user@{DOMAIN}",
        f"evil.example@{DOMAIN}",
        f"https://{DOMAIN}",
        f"{DOMAIN}/",
        f"{DOMAIN}, evil.example",
        f"{DOMAIN}\x00",
        f"{DOMAIN}\n",
        f"evil.example#{DOMAIN}",
        "opendsr.ex\u0430mple.com",  # a Cyrillic letter
        "opendsr\u3002example\u3002com",
        "xn--opendsr-example-com",
        "127.0.0.1",
        "*.example.com",
        "",
    ],
)
def test_domain_tricks_are_refused(trick: str) -> None:
    with pytest.raises(NotTrusted):
        peer_of(PEERS, trick)


@given(st.text(max_size=300))
def test_no_text_but_the_domain_names_the_peer(text: str) -> None:
    if text.strip(" \t").lower() != DOMAIN:
        with pytest.raises(NotTrusted):
            peer_of(PEERS, text)


def test_domain_of_another_script_is_kept_as_protocols_write_it() -> None:
    assert domain_of_people("OpenDSR.Bücher.example") == "opendsr.xn--bcher-kva.example"


@pytest.mark.parametrize("bad", ["example.com.", "localhost", "a..b", "a b.example", "ex_ample.de"])
def test_settings_take_no_domain_that_is_none(bad: str) -> None:
    with pytest.raises(ValueError, match="must be a domain"):
        domain_of_people(bad)


def test_certificate_for_another_name_is_refused() -> None:
    assert "domain" in refused(PKI.signer("opendsr.other.example").chain)


def test_expired_certificate_is_refused() -> None:
    old = PKI.certificate(begins=NOW - timedelta(days=91), days=90)
    assert "expired" in refused((old, PKI.intermediate.certificate))


def test_certificate_not_yet_valid_is_refused() -> None:
    new = PKI.certificate(begins=NOW + timedelta(seconds=1))
    assert "not yet" in refused((new, PKI.intermediate.certificate))


def test_self_signed_certificate_is_refused() -> None:
    refused(PKI.self_signed().chain)


def test_chain_without_its_intermediate_is_refused() -> None:
    refused(PKI.signer().chain[:1])


def test_chain_to_another_root_is_refused() -> None:
    refused(Pki("Others").signer().chain)


def test_root_that_is_sent_along_is_not_believed() -> None:
    others = Pki("Others")
    refused((*others.signer().chain, others.root.certificate))


def test_certificate_signed_by_one_that_is_no_authority_is_refused() -> None:
    leaf = PKI.signer("opendsr.other.example")
    forged = PKI.certificate(issuer=Authority(leaf.chain[0], leaf.key))
    refused((forged, *leaf.chain))


def test_empty_chain_is_refused() -> None:
    assert refused(()) == "no certificate"


def test_key_that_is_not_rsa_is_refused() -> None:
    chain = (PKI.certificate(key=ec_key()), PKI.intermediate.certificate)
    assert "RSA" in refused(chain)


def test_short_key_is_refused() -> None:
    chain = (PKI.certificate(key=rsa_key("short", 1024)), PKI.intermediate.certificate)
    assert "2048" in refused(chain)


def test_pinned_certificate_is_taken_and_no_other() -> None:
    chain = PKI.signer().chain
    pinned = Peer("example", DOMAIN, frozenset({fingerprint_of(chain[0])}))
    assert TRUST.key_of(pinned, chain, NOW).fingerprint == fingerprint_of(chain[0])
    other = (PKI.certificate(), PKI.intermediate.certificate)
    assert "pinned" in refused(other, pinned)


def test_pin_does_not_replace_the_chain() -> None:
    chain = PKI.self_signed().chain
    refused(chain, Peer("example", DOMAIN, frozenset({fingerprint_of(chain[0])})))


def test_what_was_checked_is_not_trusted_beyond_its_end() -> None:
    trust = Trust([PKI.root.certificate])
    ends = NOW + timedelta(minutes=2)
    chain = (PKI.certificate(begins=ends - timedelta(days=1), days=1), *PKI.signer().chain[1:])
    assert trust.key_of(PEER, chain, NOW).until == ends
    with pytest.raises(NotTrusted, match="expired"):
        trust.key_of(PEER, chain, ends + timedelta(seconds=1))


def test_key_remembered_for_one_domain_serves_no_other() -> None:
    trust = Trust([PKI.root.certificate])
    chain = PKI.signer().chain
    trust.key_of(PEER, chain, NOW)
    with pytest.raises(NotTrusted):
        trust.key_of(Peer("other", "opendsr.other.example"), chain, NOW)


KEY = rsa_key(DOMAIN)


def test_signature_is_of_the_key_and_the_body() -> None:
    check_signature(KEY.public_key(), BODY, sign(KEY, BODY))


def test_white_space_in_a_signature_makes_no_difference() -> None:
    text = sign(KEY, BODY)
    check_signature(KEY.public_key(), BODY, f" {text[:76]}\r\n {text[76:]}\n")


@given(st.integers(0, 255), st.integers(1, 255))
def test_changed_signature_is_refused(place: int, bits: int) -> None:
    raw = bytearray(KEY.sign(BODY, PKCS1v15(), SHA256()))
    raw[place] ^= bits
    with pytest.raises(BadSignature):
        check_signature(KEY.public_key(), BODY, b64encode(raw).decode())


@given(st.text(max_size=600))
def test_garbage_is_no_signature(text: str) -> None:
    with pytest.raises(BadSignature):
        check_signature(KEY.public_key(), BODY, text)


def test_swapped_body_is_refused() -> None:
    with pytest.raises(BadSignature):
        check_signature(KEY.public_key(), BODY + b" ", sign(KEY, BODY))


def test_signature_of_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        check_signature(KEY.public_key(), BODY, sign(rsa_key("other"), BODY))


def test_signature_over_a_weaker_digest_is_refused() -> None:
    text = b64encode(KEY.sign(BODY, PKCS1v15(), SHA1())).decode()
    with pytest.raises(BadSignature):
        check_signature(KEY.public_key(), BODY, text)


def pss() -> str:
    padding = PSS(MGF1(SHA256()), PSS.MAX_LENGTH)
    return b64encode(KEY.sign(BODY, padding, SHA256())).decode()


def test_pss_is_refused_unless_the_processor_may() -> None:
    with pytest.raises(BadSignature):
        check_signature(KEY.public_key(), BODY, pss())
    check_signature(KEY.public_key(), BODY, pss(), allows_pss=True)


def test_processor_that_may_use_pss_may_do_without() -> None:
    check_signature(KEY.public_key(), BODY, sign(KEY, BODY), allows_pss=True)


def test_longest_signature_that_is_looked_at_is_bounded() -> None:
    with pytest.raises(BadSignature, match="too long"):
        check_signature(KEY.public_key(), BODY, "A" * 5000)
