"""The population that generated records speak of."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from runners.generate.vocabulary import DOMAINS, FIRST_NAMES, LAST_NAMES


class Person(NamedTuple):
    user_id: str
    first_name: str
    last_name: str
    email: str
    phone: str


def person(index: int) -> Person:
    """The person with this number (from 0): always the same one, whatever the seed."""
    mixed = index * 2654435761 & 0xFFFFFFFF  # spreads neighbours over the names
    first = mixed % len(FIRST_NAMES)
    last = (mixed >> 8) % len(LAST_NAMES)
    mailbox = f"{_ASCII_FIRST[first]}.{_ASCII_LAST[last]}{index}"
    return Person(
        user_id=f"u-{index:07d}",
        first_name=FIRST_NAMES[first],
        last_name=LAST_NAMES[last],
        email=f"{mailbox}@{DOMAINS[mixed >> 16 & 3]}",
        phone=f"+1{200 + mixed % 700}55501{(mixed >> 12) % 100:02d}",
    )


def _ascii(name: str) -> str:
    bare = unicodedata.normalize("NFKD", name.replace("ø", "o"))
    return bare.encode("ascii", "ignore").decode().lower()


_ASCII_FIRST = tuple(_ascii(name) for name in FIRST_NAMES)
_ASCII_LAST = tuple(_ascii(name) for name in LAST_NAMES)
