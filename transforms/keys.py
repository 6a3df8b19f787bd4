"""Counting JSON keys in bytes, to tell whether a decoder has seen them all.

Every count here is an upper bound: a key ends in a quote, then perhaps white space, then a colon,
and text may look like that too. A decoder counts the keys that it has read, each once, which is a
lower bound. Where the two meet, nothing was unknown, and nothing stood there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw

_KEY = re.compile(rb'"\s*:')
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.:$-]+")
_COLON, _QUOTE = ord(":"), ord('"')
_STEP = 1 << 17

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


def count_keys(text: bytes) -> int:
    """How many keys ``text`` holds at most: colons after a quote or white space. Fast."""
    characters = np.frombuffer(text, np.uint8)
    # In steps, because what numpy makes in between then stays in the cache.
    return sum(_colons(characters[at : at + _STEP + 1]) for at in range(0, len(text), _STEP))


def count_keys_by_text(texts: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """``count_keys`` of each text."""
    joined = np.frombuffer(b" ".join(texts), np.uint8)
    colons = np.flatnonzero((joined[1:] == _COLON) & (joined[:-1] <= _QUOTE))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    return np.diff(np.searchsorted(colons, np.cumsum(lengths) - 1), prepend=0)


def count_keys_closely(text: bytes | Raw) -> int:
    """How many keys ``text`` holds at most; unlike ``count_keys`` not misled by `` :`` in prose."""
    return len(_KEY.findall(text))


def is_plain_name(name: str) -> bool:
    """Whether a decoder can be made for members of this name, which data may have chosen."""
    return _PLAIN_NAME.fullmatch(name) is not None


def repeats_a_key(document: bytes, inner: Iterable[str] = ()) -> bool:
    """Whether an object, or one of its members ``inner``, may have a key twice.

    What stands within other members is not looked at. Raises a msgspec error, or
    ``UnicodeDecodeError``, if the document is not JSON.
    """
    return count_keys_closely(document) != _distinct_keys(document, inner)


def _distinct_keys(document: bytes | Raw, inner: Iterable[str]) -> int:
    members = _decode_members(document)
    opened = {name for name in inner if bytes(members.get(name, b""))[:1] == b"{"}
    within = sum(_distinct_keys(members[name], ()) for name in opened)
    passed_over = (raw for name, raw in members.items() if name not in opened)
    return len(members) + within + sum(map(count_keys_closely, passed_over))


def _colons(characters: npt.NDArray[np.uint8]) -> int:
    """Colons after a quote or less: in JSON that is white space, or an exclamation mark in text."""
    found = characters[1:] == _COLON
    found &= characters[:-1] <= _QUOTE
    return int(np.count_nonzero(found))
