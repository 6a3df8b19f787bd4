"""Who is looked for, as it travels to workers, and what a worker makes of it to look with.

An erasure knows its subjects' identities; what is cleansed of late rows, of subjects that were
erased before, knows hashes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from schemas.dsr import Identity, IdentityType
from schemas.erasure import Suppressed
from schemas.registry import Registry
from transforms.erasure.matching import IdentityMatcher, Matcher, SuppressedMatcher
from transforms.erasure.redaction import Redaction
from transforms.erasure.text import IdentityText, TextSearch, runs_of, views, words_of
from transforms.scrub import ScrubKey
from transforms.subject_hashes import SubjectHasher


@dataclass(frozen=True)
class Search:
    """What looks through files: in columns of records, and in text."""

    registry: Registry
    matcher: Matcher
    text: TextSearch
    redaction: Redaction


@dataclass(frozen=True)
class Wanted:
    """Subjects by their identities. The key of their hashes is looked up where it is needed."""

    key: ScrubKey
    registry: Registry
    identities: tuple[Identity, ...] = field(repr=False)
    plus_addressing: bool = False

    def search(self) -> Search:
        """Raises ``UsageError`` if the key here is another one."""
        scrubber = self.key.scrubber()
        return Search(
            self.registry,
            IdentityMatcher(self.identities, scrubber, self.plus_addressing),
            IdentityText(self.identities, scrubber, self.plus_addressing),
            Redaction(scrubber.key),
        )


@dataclass(frozen=True)
class WantedByHash:
    """Subjects of whom only hashes are known."""

    key: ScrubKey
    registry: Registry
    suppressed: tuple[Suppressed, ...]

    def search(self) -> Search:
        """Raises ``UsageError`` if the key here is another one."""
        key = self.key.scrubber().key
        matcher = SuppressedMatcher(self.suppressed, key)
        text = SuppressedText(self.suppressed, key)
        return Search(self.registry, matcher, text, Redaction(key))


@dataclass(frozen=True)
class SuppressedText:
    """Looks for subjects in text by the hashes of its words and addresses.

    An identity of several words is not found in free text.
    """

    suppressed: tuple[Suppressed, ...]
    key: bytes = field(repr=False)

    def is_subject(self, value: str, name: str = "") -> bool:
        if value.strip().isdecimal() and not name.lower().endswith("id"):
            return False
        return self._is_any([value])

    def is_in(self, text: bytes) -> bool:
        return any(self._is_any(_telling(view)) for view in views(text))

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(one.exact for one in self.suppressed)

    @cached_property
    def _stored(self) -> frozenset[str]:
        return frozenset(form for one in self.suppressed for form in one.stored_forms)

    @cached_property
    def _ways(self) -> Sequence[tuple[SubjectHasher, IdentityType]]:
        """In which ways values have to be hashed."""
        kinds = {(one.plus_addressing, one.type) for one in self.suppressed}
        return [(SubjectHasher(self.key, plus), kind) for plus, kind in sorted(kinds)]

    def _is_any(self, values: list[str]) -> bool:
        if not self._stored.isdisjoint(values):
            return True
        return any(
            not self._exact.isdisjoint(hasher.exact_each(values, kind))
            for hasher, kind in self._ways
        )


def _telling(view: str) -> list[str]:
    """The words of a text that may be an identity: a number says nothing on its own."""
    words = dict.fromkeys([*words_of(view), *runs_of(view)])
    return [word for word in words if not word.isdecimal()]
