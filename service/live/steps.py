"""What a session asks of whoever carries it: to be done in the order in which it asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.live.frames import CloseCode, close_frame
from service.live.messages import Watched


@dataclass(frozen=True)
class Send:
    """Bytes for the client: a whole frame."""

    frame: bytes


@dataclass(frozen=True)
class Close:
    """The end: nothing follows."""

    code: CloseCode
    reason: str

    @property
    def frame(self) -> bytes:
        """The last frame."""
        return close_frame(self.code, self.reason)


@dataclass(frozen=True)
class Identify:
    """Ask whom this token stands for, and tell ``identified`` or ``refused``."""

    token: str = field(repr=False)


@dataclass(frozen=True)
class Open:
    """Have updates of this told from now on, then read what is new after ``after``, all if None.

    What was read goes to ``opened``, or why it could not be to ``not_opened``.
    """

    watched: Watched
    after: int | None


@dataclass(frozen=True)
class Unwatch:
    """Have no more updates of this told."""

    watched: Watched


Step = Send | Close | Identify | Open | Unwatch
