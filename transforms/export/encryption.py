"""Encryption of an archive in the format of age, https://age-encryption.org/v1, as it is written.

Whoever is to read it gives an ``age1...`` key, or is told a passphrase; ``age --decrypt`` opens it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyrage

from schemas.errors import LetheError, TooLarge, UsageError
from transforms.erasure.rewritten import Sink

MOST_UNDER_PASSPHRASE = 64 << 20
"""Bytes of an archive under a passphrase: it is encrypted in one piece."""

_SHORTEST_PASSPHRASE = 12

SUFFIX = ".age"


@dataclass(frozen=True)
class Recipients:
    """Whoever holds the secret part of one of these keys, which begin with ``age1``."""

    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ``UsageError`` unless they are such keys."""
        self._opened()

    def encrypt(self, content: Iterator[bytes], sink: Sink) -> None:
        """Write the content, encrypted; memory holds a piece of it."""
        reader = _Reader(content)
        try:
            pyrage.encrypt_io(reader, _Writer(sink, reader), self._opened())
        except pyrage.EncryptError:
            if reader.error is None:
                raise
            raise reader.error from None

    def _opened(self) -> list[Any]:
        try:
            return [pyrage.x25519.Recipient.from_str(key) for key in self.keys]
        except pyrage.RecipientError:
            raise UsageError(
                "--encrypt-to: is no public key of age: give the one that age-keygen prints, "
                "which begins with age1"
            ) from None


@dataclass(frozen=True)
class Passphrase:
    """Whoever knows these words."""

    words: str = field(repr=False)

    def __post_init__(self) -> None:
        """Raises ``UsageError`` if it is too short to withstand guessing."""
        if len(self.words) < _SHORTEST_PASSPHRASE:
            raise UsageError(
                f"the passphrase is shorter than {_SHORTEST_PASSPHRASE} characters: take several "
                "words"
            )

    def encrypt(self, content: Iterator[bytes], sink: Sink) -> None:
        """Write the content, encrypted. Raises ``TooLarge`` beyond ``MOST_UNDER_PASSPHRASE``."""
        whole = bytearray()
        for piece in content:
            whole += piece
            if len(whole) > MOST_UNDER_PASSPHRASE:
                raise TooLarge(
                    f"the archive has more than {MOST_UNDER_PASSPHRASE >> 20} MiB, too much for a "
                    "passphrase: encrypt it to a key by --encrypt-to"
                )
        sink.write(pyrage.passphrase.encrypt(bytes(whole), self.words))


@dataclass(frozen=True)
class Plain:
    """Whoever gets the archive."""

    def encrypt(self, content: Iterator[bytes], sink: Sink) -> None:
        """Write the content as it is."""
        for piece in content:
            sink.write(piece)


Encryption = Recipients | Passphrase | Plain


class _Reader:
    """An iterator of bytes in the shape of a file, that remembers what was raised by it.

    What an error said would else be in the message of another one.
    """

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content
        self._rest = b""
        self.error: LetheError | OSError | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = next(self._content)
        except StopIteration:
            return b""
        except (LetheError, OSError) as error:
            self.error = error
            raise OSError("the archive could not be made") from None
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


class _Writer:
    """A sink in the shape of a file, whose errors are remembered by the reader beside it."""

    def __init__(self, sink: Sink, reader: _Reader) -> None:
        self._sink = sink
        self._reader = reader

    def write(self, data: bytes) -> int:
        try:
            self._sink.write(data)
        except (LetheError, OSError) as error:
            self._reader.error = error
            raise OSError("the archive could not be written") from None
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""
