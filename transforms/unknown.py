"""Unknown fields: what an item's image holds beyond its schema, found fast.

The fields that one producer adds are the same in most of its records. So those of the first
record are looked for by a decoder made for them, which passes over all others; a record that this
does not explain is looked at as a whole, and what it has is looked for from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypedDict

import msgspec
from msgspec import Raw

from transforms.attributes import NotAnAttribute, unmarshal
from transforms.keys import count_keys, count_keys_closely

_MOST_NAMES = 64
"""Names that are looked for; where fields have more, their names are data."""

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class UnknownFinder:
    """Finds the fields that are not among ``known`` in the images of one type."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._names: frozenset[str] = frozenset()
        self._decode = _decoder(self._names)

    def find(self, image: bytes, surplus: int) -> dict[str, Any] | None:
        """The unknown fields as plain values, by name; None if they do not explain the surplus.

        ``surplus`` is by how many keys ``count_keys`` of the image exceeds the known fields'.
        """
        try:
            found = self._decode(image)
            if _keys_within(found) != surplus:
                found, surplus = self._any(image, surplus)
                if _keys_within(found) != surplus:
                    return None
            return {name: unmarshal(found[name]) for name in sorted(found)}
        except (msgspec.MsgspecError, NotAnAttribute, ValueError, RecursionError):
            return None

    def _any(self, image: bytes, surplus: int) -> tuple[dict[str, Any], int]:
        """All that is unknown, and the surplus counted closely."""
        members = _decode_members(image)
        unknown = members.keys() - self._known
        self._look_for(unknown)
        attributes = {name: msgspec.json.decode(members[name]) for name in unknown}
        return attributes, surplus - count_keys(image) + count_keys_closely(image)

    def _look_for(self, names: Iterable[str]) -> None:
        looked_for = self._names.union(names)
        if len(looked_for) <= _MOST_NAMES:
            self._names = looked_for
            self._decode = _decoder(looked_for)


@lru_cache(maxsize=256)
def _decoder(names: frozenset[str]) -> Any:
    """A decoder of the members ``names`` alone, to a dictionary of those that are there."""
    members: Any = TypedDict("members", dict.fromkeys(names, Any), total=False)  # type: ignore[misc]
    return msgspec.json.Decoder(members).decode


def _keys_within(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_keys_within, value.values()))
    return sum(map(_keys_within, value)) if isinstance(value, list) else 0
