"""Whose signature is believed: domains that are allowed, and certificates that speak for them.

A certificate is believed if it leads to a root that is configured (RFC 5280; the profile is that of
web servers, as ``cryptography.x509.verification`` has it: names in the subject's alternative names,
no certificate without its intermediates), is in force, names the domain, and holds an RSA key of
2,048 bits or more. Pure: certificates come in, the time too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate, DNSName
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from dsr.signing import SMALLEST_KEY
from schemas.domains import domain_in_ascii

TRUSTED_FOR = timedelta(minutes=5)
"""For so long what was checked of a certificate is not checked again."""

_MOST_KEPT = 64

Chain = tuple[Certificate, ...]
"""The certificate of a processor, and the intermediate ones that lead from it to a root."""


class NotTrusted(Exception):
    """A domain or a certificate is not believed; the message names the fault, no value."""


@dataclass(frozen=True)
class Peer:
    """A processor whose callbacks are taken. ``pins`` are SHA-256 digests, in hexadecimal.

    With pins only certificates are taken that one of them is the digest of, and that are good
    otherwise. ``allows_pss`` is for one that signs as no specification has it.
    """

    name: str
    domain: str
    pins: frozenset[str] = frozenset()
    allows_pss: bool = False


def peer_of(peers: Mapping[str, Peer], header: str) -> Peer:
    """The peer of this domain, exactly: nothing below or above it. Raises ``NotTrusted``."""
    try:
        peer = peers.get(domain_in_ascii(header.strip(" \t")))
    except ValueError:
        raise NotTrusted("not a domain") from None
    if peer is None:
        raise NotTrusted("domain not allowed")
    return peer


@dataclass(frozen=True)
class TrustedKey:
    """A key that speaks for a domain until ``until``, and the digest of its certificate."""

    key: RSAPublicKey = field(repr=False)
    fingerprint: str
    until: datetime


def fingerprint_of(certificate: Certificate) -> str:
    """The SHA-256 of a certificate in DER, in hexadecimal: what a pin is compared with."""
    return certificate.fingerprint(SHA256()).hex()


class Trust:
    """Checks certificates against roots. For any number of threads.

    What was found good is remembered by the digests of the whole chain, for ``TRUSTED_FOR`` and
    never beyond the end of any of its certificates. What was not is not remembered.
    """

    def __init__(self, roots: Sequence[Certificate]) -> None:
        """Raises ``ValueError`` for no roots at all."""
        self._store = Store([*roots])
        self._known: dict[tuple[str, ...], TrustedKey] = {}

    def key_of(self, peer: Peer, chain: Chain, now: datetime) -> TrustedKey:
        """The key by which the peer signs. Raises ``NotTrusted``."""
        place = (peer.domain, *map(fingerprint_of, chain))
        known = self._known.get(place)
        if known is None or now >= known.until:
            known = self._checked(peer, chain, now)
            self._remember(place, known)
        _check_pins(peer, known.fingerprint)
        return known

    def _checked(self, peer: Peer, chain: Chain, now: datetime) -> TrustedKey:
        if not chain:
            raise NotTrusted("no certificate")
        leaf, *intermediates = chain
        key = _rsa_key(leaf)
        verifier = PolicyBuilder().store(self._store).time(now)
        try:
            path = verifier.build_server_verifier(DNSName(peer.domain)).verify(leaf, intermediates)
        except VerificationError:
            raise NotTrusted(_fault(leaf, now)) from None
        return TrustedKey(key, fingerprint_of(leaf), min(now + TRUSTED_FOR, _end_of(path)))

    def _remember(self, place: tuple[str, ...], found: TrustedKey) -> None:
        """Few certificates are ever known; should they become many, all are checked anew."""
        if len(self._known) >= _MOST_KEPT:
            self._known = {}
        self._known[place] = found


def _rsa_key(certificate: Certificate) -> RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise NotTrusted("not an RSA key")
    if key.key_size < SMALLEST_KEY:
        raise NotTrusted(f"key of less than {SMALLEST_KEY} bits")
    return key


def _check_pins(peer: Peer, fingerprint: str) -> None:
    if peer.pins and fingerprint not in peer.pins:
        raise NotTrusted("certificate not pinned")


def _end_of(path: Iterable[Certificate]) -> datetime:
    return min(certificate.not_valid_after_utc for certificate in path)


def _fault(leaf: Certificate, now: datetime) -> str:
    """The library's own message may hold names out of a certificate."""
    if now < leaf.not_valid_before_utc:
        return "certificate not yet valid"
    if now > leaf.not_valid_after_utc:
        return "certificate expired"
    return "certificate leads to no root, or is not for this domain"
