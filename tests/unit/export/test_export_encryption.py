"""Encrypted archives: they open by age, and by nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyrage
import pytest

from schemas.errors import LakeError, StoreFull, TooLarge, UsageError
from transforms.export import encryption
from transforms.export.encryption import Passphrase, Plain, Recipients

WORDS = "correct horse battery staple"
PIECES = [b"PK", b"", b"x" * 200_000, b"end"]


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def test_holder_of_the_key_opens_it(identity: pyrage.x25519.Identity) -> None:
    sink = io.BytesIO()
    Recipients((str(identity.to_public()),)).encrypt(iter(PIECES), sink)
    assert pyrage.decrypt(sink.getvalue(), [identity]) == b"".join(PIECES)


def test_holder_of_any_of_the_keys_opens_it(identity: pyrage.x25519.Identity) -> None:
    other, sink = pyrage.x25519.Identity.generate(), io.BytesIO()
    Recipients((str(other.to_public()), str(identity.to_public()))).encrypt(iter(PIECES), sink)
    for one in (identity, other):
        assert pyrage.decrypt(sink.getvalue(), [one]) == b"".join(PIECES)


def test_who_knows_the_passphrase_opens_it() -> None:
    sink = io.BytesIO()
    Passphrase(WORDS).encrypt(iter(PIECES), sink)
    assert sink.getvalue().startswith(b"age-encryption.org/v1\n-> scrypt ")
    assert pyrage.passphrase.decrypt(sink.getvalue(), WORDS) == b"".join(PIECES)


def test_plain_is_as_it_is() -> None:
    sink = io.BytesIO()
    Plain().encrypt(iter(PIECES), sink)
    assert sink.getvalue() == b"".join(PIECES)


@pytest.mark.parametrize("key", ["", "age1xyz", "AGE-SECRET-KEY-1SECRET", "ssh-ed25519 AAAA"])
def test_what_is_no_public_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="no public key of age") as caught:
        Recipients((key,))
    assert not key or key not in caught.value.message


def test_short_passphrase_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="shorter than 12") as caught:
        Passphrase("hunter2")
    assert "hunter2" not in caught.value.message
    assert WORDS not in repr(Passphrase(WORDS))


def test_too_much_for_a_passphrase_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "MOST_UNDER_PASSPHRASE", 1000)
    with pytest.raises(TooLarge, match="--encrypt-to"):
        Passphrase(WORDS).encrypt(iter(PIECES), io.BytesIO())


def test_what_fails_while_it_is_made_is_raised_as_it_is(identity: pyrage.x25519.Identity) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise LakeError("a part was changed")

    with pytest.raises(LakeError, match="a part was changed"):
        Recipients((str(identity.to_public()),)).encrypt(broken(), io.BytesIO())


def test_what_fails_while_it_is_written_is_raised_as_it_is(
    identity: pyrage.x25519.Identity,
) -> None:
    class Full:
        def write(self, _: bytes) -> None:
            raise StoreFull("no room")

    with pytest.raises(StoreFull, match="no room"):
        Recipients((str(identity.to_public()),)).encrypt(iter(PIECES), Full())
