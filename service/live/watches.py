"""What one connection watches: what of it the client knows, and what it has yet to be told.

    opening ──(updates are held)──> its state was read ──> open: held updates, then each as it comes

Updates are asked for before the state is read, so that each change is in the state or among the
updates; one that is in both is known by its number. Pure, and not thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from schemas.errors import Invalid
from schemas.events import Topic
from service.live.messages import State, Update, Watched
from service.live.requests import MOST_NAMES

MOST_HELD = 256
"""Updates held for one watch while its state is read; with more of them it is read again."""


@dataclass(frozen=True)
class Missing:
    """There is no such thing, or not within reach."""


@dataclass(frozen=True)
class Begun:
    """One thing as it is now."""

    state: State


@dataclass(frozen=True)
class BegunAll:
    """The newest things of a kind; they hold every change up to ``place``, and maybe later ones."""

    place: int
    states: tuple[State, ...]


@dataclass(frozen=True)
class Resumed:
    """All that came after the number that the client knows, up to the number ``seen``."""

    updates: tuple[Update, ...]
    seen: int


Opening = Begun | BegunAll | Resumed


class Watch:
    """One watch. ``after`` is the number that the client goes on from, ``name`` its name's place.

    One of a single thing counts by versions, one of all of a kind by places in the outbox.
    """

    def __init__(self, watched: Watched, after: int | None, name: int) -> None:
        self.after = after
        self.name = name
        self.is_open = False
        self._counts_places = watched.id is None
        self._seen = 0
        self._versions: Mapping[Topic, int] = {}
        self._held: list[tuple[Update, bool]] = []
        self._overflowed = False

    def tell(self, update: Update) -> bool:
        """Whether the client does not know of this yet; from then on it does."""
        event = update.event
        number = (update.place or 0) if self._counts_places else event.version
        if number <= self._seen:
            return False
        self._seen = number
        return event.version > self._versions.get(event.topic, 0)

    def hold(self, update: Update, told: bool) -> None:
        """Keep an update for later; ``told`` is whether the client got it by another watch."""
        self._overflowed = self._overflowed or len(self._held) >= MOST_HELD
        if not self._overflowed:
            self._held.append((update, told))

    def begin_again(self) -> bool:
        """Whether more came than could be held; then it holds anew."""
        if not self._overflowed:
            return False
        self._held, self._overflowed = [], False
        return True

    def open(self, opening: Opening) -> Iterator[Update]:
        """The updates that the client needs, after what was read."""
        self._know(opening)
        held, self._held, self.is_open = self._held, [], True
        for update, told in held:
            if self.tell(update) and not told:
                yield update

    def _know(self, opening: Opening) -> None:
        if isinstance(opening, Begun):
            self._seen = opening.state.version
        elif isinstance(opening, Resumed):
            self._seen = opening.seen
        else:
            self._seen = opening.place
            self._versions = {s.watched.topic: s.version for s in opening.states}


class Watches:
    """All that one connection watches."""

    def __init__(self) -> None:
        self._watches: dict[Watched, Watch] = {}

    def add(self, wanted: Sequence[tuple[Watched, int | None]]) -> None:
        """Begin to hold updates of all of these, or none. Raises ``Invalid``."""
        for name, (watched, _) in enumerate(wanted, 1):
            if watched in self._watches:
                raise Invalid(f"data.message: name {name} is watched already", name=name)
        if len(self._watches) + len(wanted) > MOST_NAMES:
            raise Invalid(f"data.message: a connection watches at most {MOST_NAMES} names")
        for name, (watched, after) in enumerate(wanted, 1):
            self._watches[watched] = Watch(watched, after, name)

    def remove(self, unwanted: Iterable[Watched]) -> None:
        """Watch all of these no more, or raise ``Invalid``."""
        names = [*unwanted]
        for name, watched in enumerate(names, 1):
            if watched not in self._watches:
                raise Invalid(f"data.message: name {name} is not watched", name=name)
        for watched in names:
            del self._watches[watched]

    def pop(self, watched: Watched) -> Watch | None:
        """Watch this no more; None if it was not watched."""
        return self._watches.pop(watched, None)

    def get(self, watched: Watched) -> Watch | None:
        """The watch of this, if there is one."""
        return self._watches.get(watched)

    def tell(self, update: Update) -> bool:
        """Whether the client is to be told of this, once, however many watches it is of."""
        topic = update.event.topic
        found = (self._watches.get(Watched.of(topic)), self._watches.get(Watched(topic.kind)))
        watches = [watch for watch in found if watch is not None]
        is_new = sum(watch.tell(update) for watch in watches if watch.is_open) > 0
        for watch in watches:
            if not watch.is_open:
                watch.hold(update, is_new)
        return is_new
