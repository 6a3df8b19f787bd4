"""Lines of a stream of bytes, in bounded memory whatever their length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.contacts import MAX_ROW

Line = tuple[int, bytes | None]
"""A line's number, and the line without its end; None is content of ``MAX_ROW`` bytes or more."""


def lines_of(pieces: Iterable[bytes], first: int = 1) -> Iterator[Line]:
    """The lines of what comes in pieces, numbered from ``first``. Only ``\\n`` ends a line.

    What follows the last end is a line if it is not empty.
    """
    number, rest, is_long = first, b"", False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for content in whole:
            yield number, None if is_long or len(content) >= MAX_ROW else content
            number, is_long = number + 1, False
        if len(rest) > MAX_ROW:
            rest, is_long = b"", True
    if rest or is_long:
        yield number, None if is_long or len(rest) >= MAX_ROW else rest
