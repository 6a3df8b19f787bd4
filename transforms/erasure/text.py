"""Text: whether a subject is named in values, and in text that nobody can parse.

A value names a subject if it equals an identity, both normalised. In free text an identity must
stand alone: ``ana@acme.example`` is neither in ``joana@acme.example`` nor in
``ana@acme.example.org``. Text is looked at as it is, and as it is meant: with JSON's escapes and
percent-encoding undone, and with base64 read. A number such as ``42`` names a subject only under a
name that ends in ``id``, as ``userId``.

What was hashed by the scrubber is found by its hash; what was masked or dropped is not found.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from urllib.parse import unquote

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.identities import KEEPS_CASE, digest_of, normalised
from transforms.scrub import Scrubber
from transforms.subject_hashes import stored_forms

_DEEPEST = 4
"""How often what is encoded may be encoded again."""

_HEAD = 3
"""Letters by which the beginnings of identities are told apart."""

_ALONE_BEFORE = r"(?<![\w@+])(?<!\w[.-])"
_ALONE_BEHIND = re.compile(r"(?![\w@+])(?![.-]\w)")
_BEGIN = re.compile(_ALONE_BEFORE + r"(?=\S)")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_MEANT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_BASE64 = re.compile(r"(?:[A-Za-z0-9+_-]|\\?/){24,}={0,2}")
_UNDER_ID = re.compile(
    r"id[\s\"'\\]*[:=,][\s\"'\\]*(?:\{[\s\"'\\]*[SN][\s\"'\\]*:[\s\"'\\]*)?$", re.IGNORECASE
)
_TAG = re.compile(r"\+[^\s@\"<>]*(?=@)")
# From where a word begins only, so that time grows with the text and not its square.
_EMAIL = re.compile(r"(?<![^\s@\"(),:;<>\[\\\]])[^\s@\"(),:;<>\[\\\]]++@[\w-]+(?:\.[\w-]+)+")
_WORD = re.compile(r"(?<![\w.:+-])[\w.:+-]*\w")
_RUN = re.compile(r"[^\s\"'<>,;(){}\[\]\\]+")
_BETWEEN_VALUES = (re.compile(r"[&?]"), re.compile(r"[&?|]"))
_ALONE = re.compile(r"[\w@+](?:.*[\w@+])?")


class TextSearch(Protocol):
    """Knows the subjects that are looked for."""

    def is_subject(self, value: str, name: str = "") -> bool:
        """Whether a value, which stands under this name, is an identity of a subject."""

    def is_in(self, text: bytes) -> bool:
        """Whether a subject is named anywhere in the text."""


@dataclass(frozen=True)
class IdentityText:
    """Looks for identities, in plain or as hashes, and for what the scrubber makes of them."""

    identities: tuple[Identity, ...]
    scrubber: Scrubber
    plus_addressing: bool = False

    def is_subject(self, value: str, name: str = "") -> bool:
        plain = _plain(value)
        if plain.isdecimal() and not name.lower().endswith("id"):
            return False
        if any(form in words.words for words, form in self._forms(plain)):
            return True
        return bool(self._digests) and self._is_hashed(plain)

    def is_in(self, text: bytes) -> bool:
        return any(self._stands_in(view) or self._is_hashed_in(view) for view in views(text))

    @cached_property
    def _as_they_are(self) -> _Words:
        """What is found only as it is written."""
        kept = [one for one in self.identities if one.type in KEEPS_CASE]
        plain = [one for one in self.identities if one.format is IdentityFormat.RAW]
        stored = (
            form for one in plain for form in stored_forms(one, self.scrubber, self.plus_addressing)
        )
        return _Words.of([*map(normalised, kept), *stored])

    @cached_property
    def _folded(self) -> _Words:
        """What is found whatever its case is."""
        others = [one for one in self.identities if one.type not in KEEPS_CASE]
        return _Words.of(normalised(one, self.plus_addressing) for one in others)

    @cached_property
    def _digests(self) -> Mapping[tuple[IdentityType, IdentityFormat], frozenset[str]]:
        found: dict[tuple[IdentityType, IdentityFormat], set[str]] = defaultdict(set)
        for one in self.identities:
            if one.format is not IdentityFormat.RAW:
                found[one.type, one.format].add(normalised(one))
        return {kind: frozenset(digests) for kind, digests in found.items()}

    def _forms(self, text: str) -> Iterator[tuple[_Words, str]]:
        """What to look for, and the form of the text to look in."""
        yield self._as_they_are, text
        folded = unicodedata.normalize("NFC", text.casefold())
        yield self._folded, folded
        if self.plus_addressing and "+" in folded:
            yield self._folded, _TAG.sub("", folded)

    def _is_hashed(self, plain: str) -> bool:
        return any(
            digest_of(normalised(Identity(kind, plain)), form) in digests
            for (kind, form), digests in self._digests.items()
        )

    def _stands_in(self, view: str) -> bool:
        return any(words.stand_in(form) for words, form in self._forms(view))

    def _is_hashed_in(self, view: str) -> bool:
        return bool(self._digests) and any(map(self._is_hashed, words_of(view)))


@dataclass(frozen=True)
class _Words:
    """Any number of words to be found in a text at one go: where one may begin, those are looked
    up that begin with the same letters."""

    words: frozenset[str]
    lengths: Mapping[str, tuple[int, ...]]
    """How long the words are, by the letters that they begin with."""

    @staticmethod
    def of(words: Iterable[str]) -> _Words:
        found: dict[str, set[int]] = defaultdict(set)
        all_words = frozenset(words)
        for word in all_words:
            found[word[:_HEAD]].add(len(word))
        return _Words(all_words, {head: tuple(sorted(each)) for head, each in found.items()})

    def stand_in(self, text: str) -> bool:
        """Whether one of them is there, alone."""
        if not self.words:
            return False
        return any(self._begins_at(text, found.start()) for found in _BEGIN.finditer(text))

    def _begins_at(self, text: str, start: int) -> bool:
        return any(
            text[start : start + size] in self.words and _is_alone(text, start, start + size)
            for head in range(1, _HEAD + 1)
            for size in self.lengths.get(text[start : start + head], ())
        )


def views(text: bytes) -> Iterator[str]:
    """The text as it is and as it may be meant, each form once."""
    seen: set[str] = set()
    waiting = [(text.replace(b"\0", b"").decode("utf-8", "replace"), 0)]
    while waiting:
        view, depth = waiting.pop()
        view = unicodedata.normalize("NFC", view)
        if view in seen:
            continue
        seen.add(view)
        yield view
        if depth < _DEEPEST:
            waiting += [(other, depth + 1) for other in _meant(view)]


def words_of(view: str) -> Iterator[str]:
    """What of a text may be an identity: addresses, and words."""
    yield from dict.fromkeys([*_EMAIL.findall(view), *_WORD.findall(view)])


def runs_of(view: str) -> Iterator[str]:
    """What else of a text may be an identity, as ``auth0|5f7c``: all between white space, quotes,
    brackets, commas and semicolons, and the values that are listed or named there.

    They are some times as long as the text, all together.
    """
    parts = (part for run in _RUN.findall(view) for part in _parts(run))
    yield from dict.fromkeys(form for part in parts for form in (part, _bare(part)) if form)


def _parts(run: str) -> Iterator[str]:
    each = (part for between in _BETWEEN_VALUES for part in between.split(run))
    for part in dict.fromkeys((run, *each)):
        yield part
        yield part.partition("=")[2]
        yield part.partition(":")[2]


def _bare(part: str) -> str:
    """Without the punctuation around it."""
    found = _ALONE.search(part)
    return found[0] if found else ""


def _meant(view: str) -> Iterator[str]:
    if "\\" in view:
        yield _ESCAPE.sub(_unescaped, view)
    if "%" in view:
        yield unquote(view, errors="replace")
    for found in _BASE64.findall(view):
        yield from _in_base64(found)


def _unescaped(found: re.Match[str]) -> str:
    code, letter = found.groups()
    return chr(int(code, 16)) if code else _MEANT.get(letter, letter)


def _in_base64(letters: str) -> Iterator[str]:
    """What base64 holds; where what precedes is broken, its groups of four begin anywhere."""
    plain = letters.replace("\\", "").rstrip("=").replace("-", "+").replace("_", "/")
    for skipped in range(4):
        rest = plain[skipped:]
        whole = rest[: len(rest) - (len(rest) % 4 == 1)]
        try:
            content = base64.b64decode(whole + "=" * (-len(whole) % 4))
        except binascii.Error:
            continue
        if _is_legible(content):
            yield content.decode("utf-8", "replace")
            return


def _is_legible(content: bytes) -> bool:
    text = content.decode("utf-8", "ignore")
    broken = len(content) - len(text.encode()) + sum(c < " " and c not in "\t\n\r" for c in text)
    return broken <= 6 + len(content) // 20


def _is_alone(text: str, start: int, end: int) -> bool:
    """Whether nothing that belongs to it follows; and of a number, whether it is an id."""
    if _ALONE_BEHIND.match(text, end) is None:
        return False
    return not text[start:end].isdecimal() or bool(
        _UNDER_ID.search(text[max(start - 40, 0) : start])
    )


def _plain(value: str) -> str:
    return unicodedata.normalize("NFC", value).strip()
