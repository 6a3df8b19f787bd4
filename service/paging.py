"""Pages of a list: by a cursor, which stays right while the list grows, or by an offset.

A cursor is opaque to clients: it names the last item they saw, and the next page begins after it.
It gives no access; what lies outside of one's reach is not found by any cursor.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, Self, TypeVar

from pydantic import Field, model_validator

from schemas.errors import Invalid
from service.answers import AnswerModel, RequestModel

MOST = 200
FARTHEST = 10_000

Item = TypeVar("Item")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"1\.([a-z]{1,20})\.(0|[1-9]\d{0,17})\.([A-Za-z0-9_-]{1,64})")


@dataclass(frozen=True)
class Place:
    """Where a page ended: the time and the id of its last item."""

    at: datetime
    id: str


class PageQuery(RequestModel):
    """Which page of a list, and how long it is."""

    cursor: str | None = Field(
        default=None, max_length=200, description="`nextCursor` of the page before this one."
    )
    limit: int = Field(default=50, ge=1, le=MOST, description="How many items at most.")
    offset: int = Field(
        default=0, ge=0, le=FARTHEST, description="How many items to skip; not with a cursor."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.cursor is not None and self.offset:
            raise ValueError("give a cursor or an offset, not both")
        return self

    def place(self, kind: str) -> Place | None:
        """The end of the page before. Raises ``Invalid`` for a cursor that was not given out."""
        return None if self.cursor is None else read_cursor(kind, self.cursor)


class PageModel(AnswerModel):
    """What every page says beside its items."""

    next_cursor: str | None = Field(
        default=None, description="Ask for the next page with this; null on the last one."
    )


@dataclass(frozen=True)
class Page(Generic[Item]):
    """The items of a page; ``more`` says that others follow."""

    items: Sequence[Item]
    more: bool

    @classmethod
    def of(cls, found: Sequence[Item], limit: int) -> Page[Item]:
        """The page of what was found when one item more than ``limit`` was asked for."""
        return cls(found[:limit], len(found) > limit)


def write_cursor(kind: str, place: Place) -> str:
    """The cursor of a place in lists of this kind."""
    microseconds = (place.at - _EPOCH) // timedelta(microseconds=1)
    text = f"1.{kind}.{microseconds}.{place.id}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(kind: str, cursor: str) -> Place:
    """The place that a cursor names. Raises ``Invalid``."""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        found = _TEXT.fullmatch(text)
        if found is None or found[1] != kind:
            raise ValueError
        place = Place(_EPOCH + timedelta(microseconds=int(found[2])), found[3])
    except (ValueError, OverflowError):
        raise _not_ours() from None
    if write_cursor(kind, place) != cursor:
        raise _not_ours()
    return place


def _not_ours() -> Invalid:
    return Invalid("cursor: this is none that was given out: leave it away to begin anew")
