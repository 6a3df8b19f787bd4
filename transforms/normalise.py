"""Normalise: columns of identities as they are compared, a column at a time.

What makes a difference is said once, in ``schemas.identities.normalised``; here the same is done to
many values at once. Nearly all values are ASCII, and of those Arrow does it; for the others the
rule itself is asked.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.dsr import IdentityType
from schemas.identities import KEEPS_CASE, normalised_value

_WHITE_SPACE = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
"""The white space of ASCII, as ``str.strip`` has it."""

_TAGGED = r"(?s)^([^+]+)\+.*@([^@]*)$"
"""An address with a tag: all before its first ``+``, and what follows its last ``@``."""


def normalised_column(values: Any, kind: IdentityType, plus_addressing: bool = False) -> Any:
    """Each value as ``schemas.identities.normalised`` writes it; nulls stay.

    Takes an array of any of Arrow's types of text, dictionaries of them too; gives one of
    ``string``, or ``large_string`` if it was given that.
    """
    if pa.types.is_dictionary(values.type):
        words = normalised_column(values.dictionary, kind, plus_addressing)
        return words.take(values.indices)
    plain = plain_text(values)
    is_ascii = pc.string_is_ascii(plain)
    if pc.all(is_ascii).as_py() is not False:
        return _of_ascii(plain, kind, plus_addressing)
    others = pc.filter(plain, pc.invert(is_ascii))
    done = _of_ascii(pc.if_else(is_ascii, plain, None), kind, plus_addressing)
    return pc.replace_with_mask(
        done, pc.fill_null(pc.invert(is_ascii), False), _by_the_rule(others, kind, plus_addressing)
    )


def plain_text(values: Any) -> Any:
    """The values as ``string``, or ``large_string`` if they are that: not as views."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    return values.cast(pa.string())


def words_in(texts: Any) -> list[str | None]:
    """The texts of an array; what is no UTF-8 in them is replaced: not all writers see to that."""
    try:
        found: list[str | None] = texts.to_pylist()
    except UnicodeDecodeError:
        plain = texts.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        found = [None if word is None else word.decode("utf-8", "replace") for word in plain]
    return found


def _of_ascii(values: Any, kind: IdentityType, plus_addressing: bool) -> Any:
    trimmed = pc.ascii_trim(values, characters=_WHITE_SPACE)
    if kind in KEEPS_CASE:
        return trimmed
    lowered = pc.ascii_lower(trimmed)
    if kind is IdentityType.EMAIL and plus_addressing:
        return pc.replace_substring_regex(lowered, _TAGGED, r"\1@\2")
    return lowered


def _by_the_rule(values: Any, kind: IdentityType, plus_addressing: bool) -> Any:
    found = pc.dictionary_encode(values)
    words = [
        None if word is None else normalised_value(word, kind, plus_addressing)
        for word in words_in(found.dictionary)
    ]
    return pa.array(words, values.type).take(found.indices)
