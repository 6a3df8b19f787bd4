"""Words: eight bytes of text at a time, as numbers, of many values at once.

A word's first byte is in its lowest bits. What is said of single bytes, their highest bit says.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

SIZE = 8
"""Bytes of a word."""


def each(octet: int) -> np.uint64:
    """A word of eight such bytes."""
    return np.uint64(octet * 0x0101010101010101)


HIGH = each(0x80)
"""The highest bits of all bytes."""

_LOW, _ONES = each(0x7F), each(0x01)
_FIRST, _LAST = np.uint64(0x80), np.uint64(0x80 << 56)
"""The highest bits of the first byte, and of the last."""

_FROM_GRAPH, _FROM_C4, _FROM_CC = each(0x80 - 0x21), each(0x80 - 0x44), each(0x80 - 0x4C)
"""Added to seven bits of a byte, they give one from ``!``, C4 or CC on its highest bit."""

_C2, _9F = each(0xC2), each(0x9F)
"""Of U+0080 to U+00BF, and of ``ß``, of which some are folded to other letters."""

_BLANK_ENDS = [np.uint64(0x85C2), np.uint64(0xA0C2)]
"""U+0085 and U+00A0: white space, and in UTF-8 below CC."""

_PAIR, _PAIR_SHIFTS = np.uint64(0xFFFF), [np.uint64(8 * at) for at in range(SIZE - 1)]
_1, _3, _7, _8, _16, _32, _48, _56 = map(np.uint64, (1, 3, 7, 8, 16, 32, 48, 56))


def _table(pairs: str) -> Flags:
    """Which pairs of bytes, the first one in the lower bits, are among these."""
    found = np.zeros(1 << 16, np.bool_)
    found[np.frombuffer(bytes.fromhex(pairs), "<u2")] = True
    return found


_PAIRS = _table("C285 C2A0 CDBE E19A E1BF E280 E281 E284 E380")
"""How the characters begin of which normalising leaves nothing, or ASCII at the end."""
_FOLDED_PAIRS = _PAIRS | _table("C39F C589 C5BF E1BA EFAC")


def equal(words: Words, octets: np.uint64) -> Words:
    """Which bytes are those of a word of equal ones."""
    other = words ^ octets
    found = other & _LOW
    found += _LOW
    found |= other
    return np.bitwise_and(~found, HIGH, out=found)


def among(words: Words, octets: bytes) -> Words:
    """Which bytes are some of these."""
    return reduce(np.bitwise_or, [equal(words, each(octet)) for octet in octets])


def up_to_last(marked: Words) -> Words:
    """All bytes up to the last one that is marked."""
    found = marked >> _8
    found |= marked
    found |= found >> _16
    found |= found >> _32
    return found


def bits_of(marked: Words) -> Words:
    """How many bits the marked bytes have."""
    found = marked >> _7
    found *= _ONES
    found >>= _56
    found <<= _3
    return found


def blank_at_edges(words: Words, begins: Words) -> Words:
    """Which bytes are white space of ASCII and first of all, last of all, or behind a mark."""
    found = words & _LOW
    found += _FROM_GRAPH
    found |= words
    np.invert(found, out=found)
    found &= (begins << _8) | _FIRST | _LAST
    return found


def may_change(words: Words, begins: Words, folds: bool) -> Words:
    """Which bytes beyond ASCII may not be those of the normalised value.

    Those are white space at its edges, and what is composed, folded, or cut off before the first.
    What folding makes of letters of Latin-1 but ``ß`` differs as letters of ASCII do.
    """
    first = (begins << _8) | _FIRST
    found = (words & _LOW) + (_FROM_C4 if folds else _FROM_CC) & words
    found |= words & ~(words << _1) & _FIRST
    upper = equal(words, _C2)
    if folds:
        return (found | upper | equal(words, _9F)) & HIGH
    last = words >> _48
    ends_blank = (last == _BLANK_ENDS[0]) | (last == _BLANK_ENDS[1])
    return (found | (upper & first) | (ends_blank * _LAST)) & HIGH


def may_become_ascii(words: Words, folds: bool) -> Flags:
    """Which words have the beginning of a character that may end in ASCII, or be taken away.

    With none the normalised value ends otherwise than one that ends with eight bytes of ASCII.
    """
    table = _FOLDED_PAIRS if folds else _PAIRS
    pairs = [table.take(((words >> shift) & _PAIR).view(np.int64)) for shift in _PAIR_SHIFTS]
    return reduce(np.bitwise_or, pairs)
