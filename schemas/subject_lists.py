"""Subjects as they are named on a command line or in a file, one subject a line.

    email=ana@example.com
    email=ana@example.com,controller_customer_id=u-1
    email:sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    {"controller_customer_id": "one, two", "email": "ana@example.com"}

Errors say where a subject is wrong and what is expected, and never repeat it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.errors import Invalid, UsageError
from schemas.identities import checked_all

Subject = tuple[Identity, ...]
"""The identities of one subject; a row of any of them is the subject's."""

_object = msgspec.json.Decoder(dict[str, str])

_BYTE_ORDER_MARK = "\ufeff"
"""How some editors have a file of text begin."""


def parse_subject(text: str, where: str) -> Subject:
    """One subject as it is written above. Raises ``UsageError``, which names ``where``."""
    pairs = _members(text, where) if text.lstrip().startswith("{") else _pairs(text, where)
    try:
        return checked_all([_identity(name, value, where) for name, value in pairs])
    except Invalid as error:
        raise UsageError(f"{where}: {error.message}") from None


def parse_subjects(lines: Iterable[str], where: str) -> Iterator[Subject]:
    """The subjects of a file's lines; blank ones are passed over. Raises as ``parse_subject``."""
    for number, line in enumerate(lines, 1):
        text = line.lstrip(_BYTE_ORDER_MARK).strip()
        if text:
            yield parse_subject(text, f"{where}: line {number}")


def _pairs(text: str, where: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{where}: write it as TYPE=VALUE, such as email=ana@example.com")
        yield name.strip(), value


def _members(text: str, where: str) -> Iterator[tuple[str, str]]:
    try:
        found: Mapping[str, str] = _object.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        raise UsageError(f"{where}: is no JSON object of texts by their types") from None
    if len(json.loads(text, object_pairs_hook=list)) != len(found):
        raise UsageError(f"{where}: names a type twice: give each identity once")
    yield from found.items()


def _identity(name: str, value: str, where: str) -> Identity:
    kind, _, form = name.partition(":")
    if kind not in set(IdentityType) or (form or IdentityFormat.RAW) not in set(IdentityFormat):
        raise UsageError(
            f"{where}: the type must be one of {', '.join(IdentityType)}, and :md5, :sha1 or "
            ":sha256 behind it if the value is a digest"
        )
    return Identity(IdentityType(kind), value, IdentityFormat(form or IdentityFormat.RAW))
