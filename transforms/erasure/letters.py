"""Dead letters of a subject: found in the record that was rejected, and taken out.

A record that parses is looked through value by value, under whatever names: it may have been
rejected for not being what its schema says. What it holds as text within text - an event in base64,
an address in a remark - and a record that does not parse are looked at as text.

A letter leaves as a whole, whatever an erasure's mode is: it is no row of the lake, and a record
without its subject could not be delivered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import msgspec

from schemas.delivery import DeadLetter, decode_dead_letter, original_bytes
from transforms.erasure.rewritten import Rewritten, Sink
from transforms.erasure.text import TextSearch

_TAGS = frozenset({"S", "N", "B", "SS", "NS", "BS", "M", "L"})
"""DynamoDB's types, which stand where a member's name would."""

_SHORTEST_ENCODED = 24
"""Letters of base64 that may hold an identity."""

_NO_WORD = re.compile(r"[^\w.+:-]")
"""What stands between words, or in an address, or begins something that is encoded."""

_decode = msgspec.json.Decoder().decode


def count_letters(stream: BinaryIO, search: TextSearch) -> Rewritten:
    """How many of a file's letters are of the subjects."""
    rows = matched = 0
    for line in stream:
        rows += 1
        matched += is_letter_of(line, search)
    return Rewritten(rows, matched, rows - matched)


def rewrite_letters(stream: BinaryIO, sink: Sink, search: TextSearch) -> Rewritten:
    """Copy all letters but those of the subjects, byte for byte."""
    rows = matched = 0
    for line in stream:
        rows += 1
        if is_letter_of(line, search):
            matched += 1
        else:
            sink.write(line)
    return Rewritten(rows, matched, rows - matched)


def is_letter_of(line: bytes, search: TextSearch) -> bool:
    """Whether a line of a file of dead letters is of a subject."""
    try:
        letter: DeadLetter = decode_dead_letter(line)
        original = original_bytes(letter)
    except (msgspec.MsgspecError, ValueError):
        return search.is_in(line)
    return is_record_of(original, search)


def is_record_of(record: bytes, search: TextSearch) -> bool:
    """Whether a record names a subject: in a value of it, or, if it does not parse, anywhere."""
    try:
        document = _decode(record)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return search.is_in(record)
    return names_subject(document, search)


def names_subject(document: Any, search: TextSearch) -> bool:
    """Whether any value of a JSON document, or any name in it, is a subject's identity."""
    return any(names_it(value, name, search) for name, value in leaves(document))


def leaves(document: Any) -> Iterator[tuple[str, str]]:
    """All values that may identify, each with the name it stands under; names are such too."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        name, value = waiting.pop()
        match value:
            case str():
                yield name, value
            case bool() | None | float():
                continue
            case int():
                yield name, str(value)
            case dict():
                yield from (("", key) for key in value)
                waiting += _members(name, value.items())
            case list():
                waiting += [(name, item) for item in value]


def _members(name: str, members: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name if key in _TAGS else key, value) for key, value in members]


def names_it(value: str, name: str, search: TextSearch) -> bool:
    """Whether a value under this name is a subject's identity, or a text that holds one."""
    if search.is_subject(value, name):
        return True
    may_hold_one = len(value) >= _SHORTEST_ENCODED or _NO_WORD.search(value) is not None
    return may_hold_one and search.is_in(value.encode(errors="replace"))
