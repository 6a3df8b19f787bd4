"""Scrub: what of personal values may leave the pipeline, in rows and in dead letters alike.

``keep`` leaves a value, ``hash`` replaces it by a keyed hash, ``mask`` shows its last two
characters, ``drop`` removes it. Hash and mask leave an already scrubbed value as it is, so that
a replayed dead letter is not scrubbed twice.

A hash is HMAC-SHA-256 (RFC 2104) of the normalised value, so that whoever holds the key - and
only they - can still find the subject: that is how an erasure works on hashed data.
"""

from __future__ import annotations

import hmac
import json
import re
import unicodedata
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from schemas.changes import ChangeBatch, Reject, TypedChanges
from schemas.errors import UsageError
from schemas.fields import Field, RecordType, Scrub
from stores.parameters import ParameterStore, scrub_key

HASH_PREFIX = "hmac-sha256:"
_HASHED = re.compile(rf"{HASH_PREFIX}[0-9a-f]{{64}}")

_encode = msgspec.json.Encoder(decimal_format="number").encode

# Text may be JSON whose strings are escaped, and not only where they must be.
_DOT = rb"\.|\\u002[Ee]"
_ESCAPED = rb"\\u(?!0040|002[Ee])[0-9A-Fa-f]{4}|\\/"
_AT = re.compile(rb"@|\\u0040|%40")
_LOCAL = rb"[A-Za-z0-9.!#$&'*+/=?^_`{|}~\x80-\xff-]"
_LABEL = rb"(?:[A-Za-z0-9\x80-\xff-]|" + _ESCAPED + rb")"
_EMAIL = re.compile(
    # From the beginning of a word only, so that time grows with the text and not its square.
    rb"(?:(?<=\\\\)|(?<=\\[nrtbf])|(?<!" + _LOCAL + rb")(?<!\\))"
    rb"(?:" + _LOCAL + rb"|%(?!40)|" + _DOT + rb"|" + _ESCAPED + rb")++"
    rb"(?:" + _AT.pattern + rb")"
    rb"" + _LABEL + rb"+(?:(?:" + _DOT + rb")" + _LABEL + rb"+)+"
)
_CONTEXT = re.compile(rb"(?:.*[=/?&])?['`{|]*", re.DOTALL)

_CARD = re.compile(rb"(?<![\d.])[2-6]\d{12,18}(?![\d.])")
_CARD_IN_GROUPS = re.compile(rb"(?<![\d.-])\d{4}([ -])\d{4,6}\1\d{4,5}(?:\1\d{1,7})?(?![\d-])")
_SSN = re.compile(rb"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")
_PHONE = re.compile(rb"(?<![\w.-])(?:\+|\\u002[Bb])\d(?:[ ().-]{0,2}\d){6,14}(?!\d)")
_MASKED = (_SSN, _CARD_IN_GROUPS, _PHONE)

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+]|\\?/){24,}+={0,2}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True)
class ScrubKey:
    """Where the key for scrubbing is kept, and its fingerprint: what travels instead of the key.

    Workers elsewhere look the key up themselves, and must find the same one.
    """

    parameters: ParameterStore
    fingerprint: str

    @staticmethod
    def of(parameters: ParameterStore) -> ScrubKey:
        """Raises ``UsageError`` if there is no key, or none long enough."""
        return ScrubKey(parameters, _fingerprint(scrub_key(parameters)))

    def scrubber(self) -> Scrubber:
        """A scrubber with the key. Raises ``UsageError`` if this machine has another key."""
        key = scrub_key(self.parameters)
        if not hmac.compare_digest(_fingerprint(key), self.fingerprint):
            raise UsageError(
                "this worker has another scrub-key than the delivery was started with: give all "
                "machines the same one, by LETHE_SCRUB_KEY or from SSM"
            )
        return Scrubber(key)


def _fingerprint(key: bytes) -> str:
    return hmac.digest(key, b"lethe scrub-key fingerprint", "sha256").hex()[:16]


@dataclass(frozen=True)
class Scrubber:
    """Scrubs with one secret key, of at least 16 bytes."""

    key: bytes

    def scrub(self, batch: ChangeBatch) -> ChangeBatch:
        """The batch with the personal values of its rows and rejects scrubbed."""
        typed = tuple(self._scrub_typed(changes) for changes in batch.typed)
        rejects = tuple(self.scrub_reject(reject) for reject in batch.rejects)
        return replace(batch, typed=typed, rejects=rejects)

    def hash(self, value: str) -> str:
        """The keyed hash of a value, normalised: Unicode NFC, case, surrounding white space."""
        if _HASHED.fullmatch(value):
            return value
        normalised = unicodedata.normalize("NFC", value.strip().casefold())
        # Half of a pair of surrogates is no text, and may stand in one that is to be scrubbed.
        content = normalised.encode(errors="surrogatepass")
        return HASH_PREFIX + hmac.digest(self.key, content, "sha256").hex()

    def scrub_reject(self, reject: Reject) -> Reject:
        """The reject with its original scrubbed: by field where it parses, else by pattern."""
        record_type, original = reject.record_type, reject.original
        scrubbed = None if record_type is None else self._scrub_document(original, record_type)
        return replace(
            reject, original=self.scrub_bytes(original) if scrubbed is None else scrubbed
        )

    def scrub_bytes(self, text: bytes) -> bytes:
        """Free text with e-mail addresses hashed; card, social security, phone numbers masked.

        Base64 in it, as Kinesis records have, is looked into.
        """
        return self._scrub_patterns(_BASE64.sub(self._scrub_base64, text))

    def _scrub_patterns(self, text: bytes) -> bytes:
        text = _EMAIL.sub(self._hash_address, text)
        for pattern in _MASKED:
            text = pattern.sub(_mask_match, text)
        return _CARD.sub(_mask_card, text)

    def _hash_address(self, found: re.Match[bytes]) -> bytes:
        local, domain = _AT.split(found.group(), maxsplit=1)
        context = _context(local)
        address = _unescaped(local[len(context) :] + b"@" + domain)
        return context + self.hash(address).encode()

    def _scrub_base64(self, found: re.Match[bytes]) -> bytes:
        letters = found.group().replace(b"\\", b"").rstrip(b"=")
        for skipped in range(4):  # where what precedes is broken, groups of four begin anywhere
            text = _decoded(letters[skipped:])
            if _is_text(text):
                scrubbed = self._scrub_patterns(text)
                unchanged = scrubbed == text
                return found.group() if unchanged else letters[:skipped] + b64encode(scrubbed)
        return found.group()

    def _scrub_typed(self, changes: TypedChanges) -> TypedChanges:
        return changes.with_columns(
            {
                field.name: self._scrub_column(field, changes.columns[field.name])
                for field in changes.record_type.pii_fields
                if field.scrub is not Scrub.KEEP
            }
        )

    def _scrub_column(self, field: Field, array: Any) -> Any:
        match field.scrub:
            case Scrub.HASH:
                return self._hash_column(array)
            case Scrub.MASK:
                return _mask_column(array)
            case Scrub.DROP:
                return pa.nulls(len(array), array.type)
        return array

    def _hash_column(self, array: Any) -> Any:
        encoded = pc.dictionary_encode(array)
        hashed = [self.hash(value) for value in encoded.dictionary.to_pylist()]
        return pa.array(hashed, pa.string()).take(encoded.indices)

    def _scrub_document(self, document: bytes, record_type: RecordType) -> bytes | None:
        """The document with the values of its personal fields scrubbed wherever they stand."""
        scrubbed = {f.source: f for f in record_type.pii_fields if f.scrub is not Scrub.KEEP}
        if not scrubbed:
            return document
        try:
            value = json.loads(document, parse_float=Decimal, parse_int=Decimal)
            return _encode(self._scrub_members(value, scrubbed))
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return None

    def _scrub_members(self, value: Any, scrubbed: dict[str, Field]) -> Any:
        match value:
            case dict():
                return {
                    name: self._scrub_value(member, scrubbed[name])
                    if name in scrubbed
                    else self._scrub_members(member, scrubbed)
                    for name, member in value.items()
                    if name not in scrubbed or scrubbed[name].scrub is not Scrub.DROP
                }
            case list():
                return [self._scrub_members(item, scrubbed) for item in value]
        return value

    def _scrub_value(self, value: Any, field: Field) -> Any:
        match value:
            case dict():
                return {tag: self._scrub_value(member, field) for tag, member in value.items()}
            case list():
                return [self._scrub_value(item, field) for item in value]
            case str() | Decimal():
                return self._scrub_text(str(value), field)
        return value

    def _scrub_text(self, text: str, field: Field) -> str:
        return self.hash(text) if field.scrub is Scrub.HASH else mask(text)


def _context(local: bytes) -> bytes:
    """What stands before an address in a link, or opens a quotation, and is no part of it."""
    found = _CONTEXT.match(local)
    context = found.group() if found else b""
    return context if len(context) < len(local) else b""


def _unescaped(text: bytes) -> str:
    try:
        return str(json.loads(b'"' + text + b'"'))
    except ValueError:
        return text.decode("utf-8", "replace")


def _decoded(letters: bytes) -> bytes:
    """What unpadded base64 holds, less a last letter that is half a byte."""
    whole = letters[:-1] if len(letters) % 4 == 1 else letters
    return b64decode(whole + b"=" * (-len(whole) % 4))


def _is_text(decoded: bytes) -> bool:
    """Whether base64 held text; a few bytes may be broken, or cut off at either end."""
    legible = decoded.decode("utf-8", "ignore").encode()
    broken = len(decoded) - len(legible) + len(_CONTROL.findall(legible))
    return broken <= 6 + len(decoded) // 20


def _mask_match(found: re.Match[bytes]) -> bytes:
    return mask(found.group().decode("ascii")).encode()


def _mask_card(found: re.Match[bytes]) -> bytes:
    """A card's number masked, if by its check digit it is one; a JSON number stays a number."""
    digits = found.group()
    if not _has_check_digit(digits):
        return digits
    before = found.string[max(found.start() - 2, 0) : found.start()].rstrip()[-1:]
    return b"9" * (len(digits) - 2) + digits[-2:] if before in b":,[" else _mask_match(found)


def _has_check_digit(digits: bytes) -> bool:
    """The Luhn formula (ISO/IEC 7812-1, annex B)."""
    numbers = [digit - ord("0") for digit in reversed(digits)]
    doubled = [sum(divmod(2 * number, 10)) for number in numbers[1::2]]
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0


def mask(text: str) -> str:
    """The text with all but its last two characters as ``*``; of two or fewer, none is shown."""
    if len(text) <= 2:
        return "*" * len(text)
    return "*" * (len(text) - 2) + text[-2:]


def _mask_column(array: Any) -> Any:
    length = pc.utf8_length(array)
    shown = pc.if_else(pc.greater(length, 2), pc.utf8_slice_codeunits(array, -2), "")
    hidden = pc.subtract(length, pc.utf8_length(shown))
    return pc.binary_join_element_wise(pc.binary_repeat("*", hidden), shown, "")
