"""What an erasure leaves behind it: what was counted, replaced, certified, and who is suppressed.

Nothing here names a subject in plain: subjects are keyed hashes, and what has to be opened again
is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from schemas.dsr import IdentityType


class ErasureMode(StrEnum):
    """What becomes of a subject's rows."""

    DELETE = "delete"
    """They leave the file."""
    REDACT = "redact"
    """They stay, without the subject's personal values."""


class OldVersionsRule(StrEnum):
    """What becomes of what a store has kept of files as they were, of all that was replaced."""

    KEEP = "keep"
    """It stays, and nothing is said of it."""
    REPORT = "report"
    """It stays, and is named as not reached."""
    REMOVE = "remove"
    """It goes; what cannot be removed is named as not reached."""


class FileKind(StrEnum):
    """What kind of a place a subject was found in."""

    DATA = "data"
    DEAD_LETTERS = "dead_letters"
    CONTACTS = "contacts"
    EXPORT = "export"


@dataclass(frozen=True)
class IndexRef:
    """Where a file's subject index lies: ``length`` bytes at ``offset`` of the object ``key``."""

    key: str
    offset: int
    length: int


@dataclass(frozen=True)
class IndexedFile:
    """A file whose subject index was made anew, while its content had this digest."""

    path: str
    sha256: str
    index: IndexRef


@dataclass(frozen=True)
class SuppressionRef:
    """A list of suppressed subjects: the object, its digest, the log's entry that made it valid.

    It holds what the lists of the entries ``holds`` do as well, as far as that has not expired.
    """

    key: str
    sha256: str
    number: int = 0
    holds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Suppressed:
    """One identity of a subject whose rows are not to come back.

    ``exact`` is a keyed hash (HMAC-SHA256, hexadecimal) of type and normalised value; ``stored`` is
    how a field that is scrubbed by hash holds the value as it was given. ``near`` are short keyed
    hashes by which nearly all other values are told apart at once; many values share each. With
    ``plus_addressing`` they are those of an email without what follows a ``+`` in its local part,
    and so are those of values to be compared. ``tails`` are made of the last bytes of a value
    alone, of an email of those of its local part, and ``ends`` of the very last one in plain;
    ``beyond_ascii`` says that there are letters beyond ASCII among those bytes.

    ``stored_untagged`` is how such a field holds the normalised value, if that is another than
    ``stored``: the address without its tag. Lists from before have none.
    """

    type: IdentityType
    exact: str
    stored: str
    near: tuple[int, ...]
    expires_at: datetime | None = None
    plus_addressing: bool = False
    tails: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    beyond_ascii: bool = False
    stored_untagged: str | None = None

    @property
    def stored_forms(self) -> tuple[str, ...]:
        """All that a field that is scrubbed by hash may hold for it."""
        forms = (self.stored, self.stored_untagged)
        return tuple(form for form in forms if form is not None)


@dataclass(frozen=True)
class FileMatch:
    """How many rows of a file belong to the subjects. ``date`` is None outside a partition."""

    path: str
    kind: FileKind
    type: str | None
    date: str | None
    rows: int
    matched: int


@dataclass(frozen=True)
class ErasedFile:
    """What an erasure did to one file.

    ``sha256_after`` is None if nothing remained and the file was removed. ``etag`` is that of the
    content that was read, which is replaced only if it is still there. ``fingerprint`` is the
    schema's.
    """

    path: str
    kind: FileKind
    rows_before: int
    matched: int
    rows_after: int
    sha256_before: str
    sha256_after: str | None
    etag: str
    fingerprint: str | None = None


@dataclass(frozen=True)
class Preview:
    """What an erasure would do, as it was counted. ``sealed`` holds the subjects, encrypted.

    ``unread`` says in words which files nobody could look into.
    """

    id: str
    made_at: datetime
    expires_at: datetime
    mode: ErasureMode
    subjects: int
    rows: int
    matched: int
    files: tuple[FileMatch, ...]
    by_type: Mapping[str, int]
    by_date: Mapping[str, int]
    sealed: bytes = field(repr=False)
    unread: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of all rows that belong to the subjects, 0 to 1."""
        return self.matched / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Certificate:
    """What was erased, verified and signed. ``signature`` is Ed25519 over all the rest.

    ``subjects`` are keyed hashes of the identities (``Suppressed.exact``), sorted. ``entries`` are
    the numbers of the log's entries; ``unreachable`` says in words what could not be reached, and
    ``open_runs`` which deliveries had begun before and had not ended.
    """

    id: str
    lake: str
    mode: ErasureMode
    began_at: datetime
    ended_at: datetime
    subjects: tuple[str, ...]
    files: tuple[ErasedFile, ...]
    files_looked_at: int
    files_read: int
    rows_before: int
    matched: int
    rows_after: int
    verified_at: datetime
    verified_rows: int
    entries: tuple[int, ...]
    open_runs: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    key_id: str = ""
    signature: str = ""
    version: int = 1
