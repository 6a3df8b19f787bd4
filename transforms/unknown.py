"""Unknown fields: what an item's image holds beyond its schema, found fast.

The fields that one producer adds are the same in most of its records. So those of the first
record are looked for by a decoder made for them, which passes over all others; a record that this
does not explain is looked at as a whole, and what it has is looked for from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from transforms.attributes import NotAnAttribute, unmarshal
from transforms.keys import count_keys, count_keys_closely, is_plain_name

_MOST_NAMES = 64
"""Names that are looked for; where fields have more, their names are data."""

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class UnknownFinder:
    """Finds the fields that are not among ``known`` in the images of one type."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._names: tuple[str, ...] = ()
        self._decode: Any = None

    def find(self, image: bytes, surplus: int) -> dict[str, Any] | None:
        """The unknown fields as plain values, by name; None if they do not explain the surplus.

        ``surplus`` is by how many keys ``count_keys`` of the image exceeds the known fields'.
        """
        try:
            found = self._expected(image)
            if _keys_within(found) != surplus:
                found, surplus = self._any(image, surplus)
                if _keys_within(found) != surplus:
                    return None
            return {name: unmarshal(attribute) for name, attribute in found.items()}
        except (msgspec.MsgspecError, NotAnAttribute, ValueError, RecursionError):
            return None

    def _expected(self, image: bytes) -> dict[str, Any]:
        if not self._names:
            return {}
        values = msgspec.structs.astuple(self._decode(image))
        pairs = zip(self._names, values, strict=True)
        return {name: value for name, value in pairs if value is not UNSET}

    def _any(self, image: bytes, surplus: int) -> tuple[dict[str, Any], int]:
        """All that is unknown, and the surplus counted closely."""
        members = _decode_members(image)
        unknown = {name: members[name] for name in sorted(members.keys() - self._known)}
        self._look_for(unknown)
        attributes = {name: msgspec.json.decode(raw) for name, raw in unknown.items()}
        return attributes, surplus - count_keys(image) + count_keys_closely(image)

    def _look_for(self, found: Iterable[str]) -> None:
        names = {*self._names, *filter(is_plain_name, found)}
        if names and len(names) <= _MOST_NAMES:
            self._names = tuple(sorted(names))
            self._decode = _decoder(self._names)


@lru_cache(maxsize=256)
def _decoder(names: tuple[str, ...]) -> Any:
    """A decoder of the members ``names`` alone."""
    fields: list[Any] = [
        (f"m{place}", Any, msgspec.field(name=name, default=UNSET))
        for place, name in enumerate(names)
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Unknown", fields)).decode


def _keys_within(value: Any) -> int:
    match value:
        case dict():
            return len(value) + sum(map(_keys_within, value.values()))
        case list():
            return sum(map(_keys_within, value))
    return 0
