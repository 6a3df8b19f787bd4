"""Lines of text for the second look, and of a long line the JSON values in it.

A JSON array may have no line ends. It is taken apart at its members, so that no more of it is held
than one of these and a piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TextIO

from schemas.errors import InputError

_LONG = 1 << 20
"""Characters of a line that is looked at as a whole, whatever is in it."""

_LONGEST = 64 << 20
"""Characters of a part: the first look takes no longer ones for rows, either."""

_OPEN_END = 3
"""Characters, as ``e+5``, that may follow what reads as a number and belong to it."""

_BETWEEN = re.compile(r"[\s,\[\]]*")
_value_at = json.JSONDecoder().raw_decode


def lines_of(text: TextIO) -> Iterator[str]:
    """Raises ``InputError`` if one is far too long."""
    while line := text.readline(_LONGEST):
        _check(line)
        yield line


def json_parts(text: TextIO, long: int = _LONG) -> Iterator[str]:
    """Lines, but of a long one each value; what is none, with all that follows it.

    Raises ``InputError`` if a part is far too long.
    """
    while line := text.readline(long):
        if _is_ended(line) or len(line) < long:
            yield line
        else:
            yield from _values(line, text)


def _values(held: str, text: TextIO) -> Iterator[str]:
    """The values of a line of which some is held, and the rest is to be read."""
    size = len(held)
    is_last = False
    while not is_last:
        # As much again, so that a long value is not begun anew more than a few times.
        more = text.readline(max(size, len(held)))
        is_last = not more or _is_ended(more)
        held += more
        place = 0
        for begin, end in _extents(held, len(held) - (0 if is_last else _OPEN_END)):
            yield held[begin:end]
            place = end
        held = held[place:]
        _check(held)
    yield held


def _extents(held: str, limit: int) -> Iterator[tuple[int, int]]:
    """Where values begin and end, one after another, up to one that is not there wholly."""
    end = 0
    while True:
        begin = _match_end(held, end)
        try:
            _, end = _value_at(held, begin)
        except (ValueError, RecursionError):
            return
        if end > limit:
            return
        yield begin, end


def _match_end(held: str, place: int) -> int:
    between = _BETWEEN.match(held, place)
    return place if between is None else between.end()


def _is_ended(line: str) -> bool:
    return line.endswith("\n")


def _check(part: str) -> None:
    if len(part) >= _LONGEST:
        raise InputError(f"a line, or a row in it, has more than {_LONGEST >> 20} MiB")
