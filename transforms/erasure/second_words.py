"""Whether values are identities of subjects, for a second look: in plain, or by exact hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.identities import KEEPS_CASE, digest_of, normalised, normalised_value
from transforms.subject_hashes import SubjectHasher

_AT_ONCE = 64
"""Words that are normalised at one go; one that is not plain ASCII slows down so many."""


@dataclass(frozen=True)
class SoughtWords:
    """Subjects as ``SecondLook`` has them, and what hashes a value to hold it against them."""

    hasher: SubjectHasher
    exact: frozenset[str]
    stored: frozenset[str]
    kinds: tuple[IdentityType, ...]
    forms: tuple[IdentityFormat, ...]
    plain: Mapping[IdentityType, frozenset[str]] | None = field(repr=False)

    def is_any(self, values: Iterable[tuple[IdentityType | None, Any]]) -> bool:
        """Whether one of the values is wanted."""
        return any(self.is_wanted(kind, value) for kind, value in values)

    def is_wanted(self, kind: IdentityType | None, value: Any) -> bool:
        """Whether a value is an identity of a subject; of any kind, if none is given."""
        if value is None or isinstance(value, bool):
            return False
        text = written(value)
        kinds = self.kinds if kind is None else (kind,)
        return text in self.stored or any(self._is_exactly(one, text) for one in kinds)

    def rows_in(self, kind: IdentityType, column: list[Any]) -> list[int]:
        """The rows of a column that hold an identity of this kind."""
        hits = self._wanted_in(kind, column)
        return [row for row, value in enumerate(column) if value in hits] if hits else []

    def _wanted_in(self, kind: IdentityType, column: list[Any]) -> set[Any]:
        """The wanted values; of plain texts, as nearly all are, all are looked at at one go."""
        values = {value for value in column if value is not None}
        if self.forms or any(type(value) is not str for value in values):
            return {value for value in values if self.is_wanted(kind, value)}
        words = list(values)
        return (values & self.stored) | set(self._known_in(kind, words))

    def _known_in(self, kind: IdentityType, words: list[str]) -> Iterator[str]:
        if kind not in self.kinds:
            return
        if self.plain is None:
            wanted, forms = self.exact, list(self.hasher.exact_each(words, kind))
        else:
            wanted = self.plain.get(kind, frozenset())
            forms = normalised_each(words, kind, self.hasher.plus_addressing)
        if not wanted.isdisjoint(forms):
            yield from (word for word, form in zip(words, forms, strict=True) if form in wanted)

    def _is_exactly(self, kind: IdentityType, text: str) -> bool:
        if kind not in self.kinds:
            return False
        if self.plain is not None:
            wanted = self.plain.get(kind, frozenset())
            return normalised_value(text, kind, self.hasher.plus_addressing) in wanted
        identities = [Identity(kind, text), *self._digests(kind, text)]
        return any(self.hasher.exact(one) in self.exact for one in identities)

    def _digests(self, kind: IdentityType, text: str) -> Iterator[Identity]:
        for form in self.forms:
            plain = normalised(Identity(kind, text))
            yield Identity(kind, digest_of(plain, form), form)


def normalised_each(words: list[str], kind: IdentityType, plus_addressing: bool) -> list[str]:
    """Each word as ``normalised_value`` writes it, in a quarter of the time."""
    found: list[str] = []
    for start in range(0, len(words), _AT_ONCE):
        some = words[start : start + _AT_ONCE]
        found += _together(some, kind, plus_addressing) or [
            normalised_value(word, kind, plus_addressing) for word in some
        ]
    return found


def _together(words: list[str], kind: IdentityType, plus_addressing: bool) -> list[str] | None:
    """None if the rule has to be asked about some: they hold more than ASCII, or white space."""
    joined = " ".join(words)
    is_plain = joined.isascii() and joined.isprintable() and joined.count(" ") == len(words) - 1
    if not is_plain or (plus_addressing and "+" in joined):
        return None
    return (joined if kind in KEEPS_CASE else joined.lower()).split(" ")


def written(value: Any) -> str:
    """A value as an identity is written: a whole number without a fraction."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | Decimal) and value == value // 1:
        return str(int(value))
    return str(value)
