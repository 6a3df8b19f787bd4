"""Portions of work: what one commit takes on, so that what is staged stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def portions(
    items: Iterable[T], size_of: Callable[[T], int], size: int, count: int | None = None
) -> Iterator[list[T]]:
    """The items in groups of at most so much together, and so many; a larger one is by itself."""
    group: list[T] = []
    held = 0
    for item in items:
        if group and (held + size_of(item) > size or len(group) == count):
            yield group
            group, held = [], 0
        group.append(item)
        held += size_of(item)
    if group:
        yield group
