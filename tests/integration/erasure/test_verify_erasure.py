"""Certificates held against lakes: what holds, and what each kind of tampering is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

import pytest

from runners.verify_erasure import verify_erasure
from schemas.erasure import Certificate
from stores.audit_keys import audit_keys
from stores.erasure_certificates import (
    CertificateBroken,
    decode_certificate,
    encode_certificate,
    signed,
)
from stores.objects import LocalObjectStore, ObjectStore
from tests.erasing import (
    EMAIL,
    OTHER,
    Secrets,
    erase,
    parquet_of,
    put_visits,
    runner,
    site,
)


@pytest.fixture
def made(lake: ObjectStore) -> Certificate:
    put_visits(lake, "mixed", EMAIL, OTHER)
    put_visits(lake, "hers", EMAIL)
    return erase(lake).certificate


def verify(lake: ObjectStore, certificate: Certificate) -> tuple[int, int]:
    done = verify_erasure(certificate, site(lake), runner())
    return done.as_certified, done.replaced_since


def test_certificate_holds(lake: ObjectStore, made: Certificate) -> None:
    assert verify(lake, made) == (2, 0)


def test_file_that_another_erasure_replaced_is_counted(
    lake: ObjectStore, made: Certificate
) -> None:
    erase(lake, OTHER)
    assert verify(lake, made) == (1, 1)


class ErasedAgain(LocalObjectStore):
    """A lake in which another erasure is done just before one of its files is read."""

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        if key.startswith("type="):
            erase(LocalObjectStore(self.uri), OTHER)
        return super().open(key, offset, etag)


def test_file_that_is_replaced_as_it_is_looked_at_is_counted(
    lake: ObjectStore, made: Certificate
) -> None:
    assert verify(ErasedAgain(lake.uri), made) == (1, 1)


def swap(lake: ObjectStore) -> None:
    put_visits(lake, "mixed", OTHER, OTHER)


def remove(lake: ObjectStore) -> None:
    lake.delete("type=visit/date=2026-01-02/mixed.parquet")


def bring_back(lake: ObjectStore) -> None:
    put_visits(lake, "hers", OTHER)


def bring_her_back(lake: ObjectStore) -> None:
    lake.put("type=visit/date=2026-01-09/new.parquet", parquet_of([EMAIL]))


def put_damaged(lake: ObjectStore) -> None:
    lake.put("type=visit/date=2026-01-09/new.parquet", b"PAR1 and nothing else PAR1")


def cut_log(lake: ObjectStore) -> None:
    lake.delete("_lethe/log/00000000000000000002.json")


TAMPERING: dict[str, tuple[Callable[[ObjectStore], None], str]] = {
    "a file that is another": (swap, "mixed.parquet: is not what"),
    "a file that is gone": (remove, "mixed.parquet: is gone"),
    "a file that is back": (bring_back, "hers.parquet: is not what"),
    "a subject that is back": (bring_her_back, "new.parquet and 0 other files hold a subject"),
    "a file that nobody can read": (put_damaged, "new.parquet: cannot be looked into"),
    "a log that was cut": (cut_log, "has entries 1 of this erasure"),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(lake: ObjectStore, made: Certificate, how: str) -> None:
    tamper, said = TAMPERING[how]
    tamper(lake)
    with pytest.raises(CertificateBroken, match=said):
        verify(lake, made)


def test_stored_address_that_is_back_without_its_tag_is_found(lake: ObjectStore) -> None:
    put_visits(lake, "hers", EMAIL)
    tagged = EMAIL.replace("@", "+other@")
    certificate = erase(lake, tagged, plus_addressing=True).certificate
    stored = site(lake).scrub_key.scrubber().hash(EMAIL)
    lake.put("type=visit/date=2026-01-09/new.parquet", parquet_of([stored]))
    with pytest.raises(CertificateBroken, match=r"new\.parquet and 0 other files hold a subject"):
        verify(lake, certificate)


def test_certificate_that_says_other_than_the_log_is_found(
    lake: ObjectStore, made: Certificate
) -> None:
    files = (replace(made.files[0], matched=2), *made.files[1:])
    forged = signed(replace(made, files=files), audit_keys(Secrets()))
    with pytest.raises(CertificateBroken, match="the lake's log says otherwise"):
        verify(lake, forged)


def changed(line: bytes) -> bytes:
    return line.replace(b'"matched":2', b'"matched":3')


def extended(line: bytes) -> bytes:
    return line.replace(b'"}\n', b'","matched":3}\n')


def emptied(line: bytes) -> bytes:
    return b"{}"


def nested(line: bytes) -> bytes:
    return b"[" * 100_000


@pytest.mark.parametrize(
    "tamper", [changed, extended, emptied, nested], ids=lambda how: how.__name__
)
def test_text_that_nobody_signed_is_refused(
    made: Certificate, tamper: Callable[[bytes], bytes]
) -> None:
    line = encode_certificate(made)
    keys = audit_keys(Secrets()).public
    assert decode_certificate(line, keys) == made
    with pytest.raises(CertificateBroken):
        decode_certificate(tamper(line), keys)


def test_key_that_is_not_known_is_named(made: Certificate) -> None:
    line = encode_certificate(made)
    with pytest.raises(CertificateBroken, match=f"the key '{made.key_id}', which is not known"):
        decode_certificate(line, type(audit_keys(Secrets()).public)({}))
