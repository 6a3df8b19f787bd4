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
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from schemas.changes import ChangeBatch, Reject, TypedChanges
from schemas.fields import Field, RecordType, Scrub

HASH_PREFIX = "hmac-sha256:"
_HASHED = re.compile(rf"^{HASH_PREFIX}[0-9a-f]{{64}}$")

_encode = msgspec.json.Encoder(decimal_format="number").encode

_EMAIL = re.compile(
    rb"[A-Za-z0-9._%+'-]{1,64}(?:@|\\u0040|%40)[A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,24}"
)
_CARD = re.compile(rb"(?<![\d.])(?:\d[ -]?){12,18}\d(?![\d.])")
_SSN = re.compile(rb"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")
_PHONE = re.compile(rb"(?<![\w.-])\+\d(?:[ ().-]?\d){6,14}(?!\d)")


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
        """The keyed hash of a value, normalised by case and surrounding white space."""
        if _HASHED.match(value):
            return value
        normalised = value.strip().casefold().encode()
        return HASH_PREFIX + hmac.digest(self.key, normalised, "sha256").hex()

    def scrub_reject(self, reject: Reject) -> Reject:
        """The reject with its original scrubbed: by field where it parses, else by pattern."""
        original = reject.original
        if reject.record_type is not None and reject.record_type.pii_fields:
            parsed = self._scrub_document(original, reject.record_type)
            if parsed is not None:
                return replace(reject, original=parsed)
        if reject.record_type is not None:
            return reject
        return replace(reject, original=self.scrub_bytes(original))

    def scrub_bytes(self, text: bytes) -> bytes:
        """Free text with e-mail addresses hashed; card, social security, phone numbers masked."""
        text = _EMAIL.sub(lambda found: self._hash_bytes(found.group()), text)
        for pattern in (_SSN, _CARD, _PHONE):
            text = pattern.sub(_mask_match, text)
        return text

    def _hash_bytes(self, address: bytes) -> bytes:
        return self.hash(address.decode("ascii", "replace")).encode()

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
        match field.scrub:
            case Scrub.HASH:
                return self.hash(text)
            case Scrub.MASK:
                return mask(text)
        return ""


def _mask_match(found: re.Match[bytes]) -> bytes:
    return mask(found.group().decode("ascii")).encode()


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
