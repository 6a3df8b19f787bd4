"""Draws contacts, as a sales or support tool exports them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from runners.generate.people import person
from runners.generate.times import DAY_MS, local_iso
from runners.generate.vocabulary import CITIES, COMPANIES

_FIRST = 1_735_689_600_000  # 2025-01-01T00:00:00Z in milliseconds
_SPAN = 360 * DAY_MS


def draw_contacts(count: int, seed: int) -> Iterator[bytes]:
    """``count`` contacts, each a JSON object; contact n is person n of the change records."""
    rand = random.Random(seed).random
    for index in range(count):
        yield _contact(index, rand(), rand(), rand()).encode()


def _contact(index: int, company: float, city: float, created: float) -> str:
    who = person(index)
    town, country = CITIES[int(city * len(CITIES))]
    return (
        f'{{"contactId":"c-{index:08d}","firstName":"{who.first_name}",'
        f'"lastName":"{who.last_name}","email":"{who.email}","phone":"{who.phone}",'
        f'"company":"{COMPANIES[int(company * len(COMPANIES))]}","city":"{town}",'
        f'"country":"{country}","createdAt":"{local_iso(_FIRST + int(created * _SPAN))}Z"}}'
    )
