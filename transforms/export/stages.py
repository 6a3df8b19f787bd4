"""The stages of an export as Beam carries them.

No row crosses a shuffle: workers put rows into parts, and only descriptions of these go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.utils.windowed_value import WindowedValue

from schemas.errors import ObjectChanged, ObjectMissing
from schemas.export import ExportedFrom
from stores.lake_files import LakeFile
from transforms.erasure.files import Unread, Unreadable
from transforms.erasure.search import Wanted
from transforms.erasure.work import Gone
from transforms.export.gather import Gatherer, Identified
from transforms.export.parts import Member, Part, PartsArea, PartWriter
from transforms.stages import in_global_window

MOST_SUBJECTS = 10_000
"""Hashes of those whom rows identify that are kept of an export."""

DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True)
class Haul:
    """What was gathered from all files."""

    parts: tuple[Part, ...] = ()
    sources: tuple[ExportedFrom, ...] = ()
    unread: tuple[Unread, ...] = ()
    gone: tuple[Gone, ...] = ()
    identified: Identified = field(default_factory=Identified)

    @property
    def is_of_many(self) -> bool:
        """Whether the rows identify more than is sensible to list."""
        return len(self.identified.subjects) > MOST_SUBJECTS

    @staticmethod
    def of(found: Iterable[Any]) -> Haul:
        """One of all that ``GatherRows`` gave."""
        made = list(found)

        def those(kind: type, by: str) -> tuple[Any, ...]:
            some = (one for one in made if isinstance(one, kind))
            return tuple(sorted(some, key=lambda one: getattr(one, by)))

        named = _joined(one for one in made if isinstance(one, Identified))
        return Haul(
            those(Part, "key"),
            those(ExportedFrom, "path"),
            those(Unread, "path"),
            those(Gone, "path"),
            named,
        )


class GatherRows(beam.DoFn):
    """Files to what of the subject's was found in them: ``Part``, ``ExportedFrom``, and so on."""

    def __init__(self, wanted: Wanted, area: PartsArea) -> None:
        self._wanted = wanted
        self._area = area

    def setup(self) -> None:
        self._gatherer = Gatherer(self._wanted.search(), self._wanted.key.scrubber().key)

    def start_bundle(self) -> None:
        self._writer = PartWriter(self._area)
        self._identified = Identified()

    def process(self, file: LakeFile) -> Iterator[Any]:
        rows = 0
        try:
            for some in self._gatherer.rows_in(file, self._area.store):
                rows += len(some.rows)
                self._note(some.identified)
                yield from self._writer.add(_member_of(file), some.rows)
        except (ObjectMissing, ObjectChanged):
            yield Gone(file.path)
        except Unreadable as error:
            yield Unread(file.path, error.message.removeprefix(f"{file.path}: "))
        if rows:
            yield ExportedFrom(file.path, file.kind, file.type, file.date, rows)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        return map(in_global_window, [*self._writer.finish(), self._identified])

    def _note(self, found: Identified) -> None:
        """Remember no more than tells that there are too many to be listed."""
        if len(self._identified.subjects) <= MOST_SUBJECTS:
            self._identified = _joined((self._identified, found))


@dataclass(frozen=True)
class HaulObject:
    """Where it is left what was gathered."""

    area: PartsArea

    def write(self, haul: Haul) -> None:
        self.area.store.put(self._key, msgspec.json.encode(haul))

    def take(self) -> Haul:
        """What was left, if anything was."""
        try:
            return msgspec.json.decode(self.area.store.read(self._key), type=Haul)
        except ObjectMissing:
            return Haul()

    @property
    def _key(self) -> str:
        return f"{self.area.prefix}haul.part"


class KeepHaul(beam.DoFn):
    """All that was gathered, in one element, to the object that keeps it."""

    def __init__(self, into: HaulObject) -> None:
        self._into = into

    def process(self, keyed: tuple[None, Iterable[Any]]) -> None:
        self._into.write(Haul.of(keyed[1]))


def _joined(some: Iterable[Identified]) -> Identified:
    found = list(some)
    return Identified(
        frozenset().union(*(one.subjects for one in found)),
        frozenset().union(*(one.untagged for one in found)),
    )


def _member_of(file: LakeFile) -> Member:
    return Member(file.kind, file.type or DEAD_LETTERS)
