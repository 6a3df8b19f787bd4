"""Lines of a stream of bytes, in bounded memory whatever their length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from schemas.contacts import MAX_ROW


class Line(NamedTuple):
    """A line with its end, and its number; None is content longer than ``MAX_ROW``."""

    number: int
    content: bytes | None


def lines_of(pieces: Iterable[bytes], first: int = 1) -> Iterator[Line]:
    """The lines of what comes in pieces, numbered from ``first``. Only ``\\n`` ends a line."""
    number, rest, is_long = first, b"", False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for content in whole:
            too_long = is_long or len(content) >= MAX_ROW
            yield Line(number, None if too_long else content + b"\n")
            number, is_long = number + 1, False
        if len(rest) > MAX_ROW:
            rest, is_long = b"", True
    if rest or is_long:
        yield Line(number, None if is_long else rest)
