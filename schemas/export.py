"""What an export leaves behind it: the archive's index, and the record by which it is found.

Only the archive itself holds personal data. What lies beside it and in the lake names no subject:
ids are random, and subjects are keyed hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from schemas.erasure import FileKind


class ExportFormat(StrEnum):
    """How the rows of an archive are written."""

    JSON = "json"
    """An array of objects."""
    NDJSON = "ndjson"
    """An object a line."""
    CSV = "csv"
    """A header and rows; what is nested is JSON in its cell."""


@dataclass(frozen=True)
class ExportedField:
    """A column of an archive's file. ``type`` is in the words of ``docs/export.md``.

    ``personal`` and ``subject`` are as the record type says: what kind of personal data it is, and
    whom it identifies.
    """

    name: str
    type: str
    doc: str = ""
    personal: str | None = None
    subject: str | None = None


@dataclass(frozen=True)
class ExportedFile:
    """A file of an archive, with the rows of one record type, or the dead letters."""

    name: str
    kind: FileKind
    type: str
    format: ExportFormat
    rows: int
    bytes: int
    sha256: str
    fields: tuple[ExportedField, ...]


@dataclass(frozen=True)
class ExportedFrom:
    """A file of the lake that rows of the subject were found in."""

    path: str
    kind: FileKind
    type: str | None
    date: str | None
    rows: int


@dataclass(frozen=True)
class ArchiveIndex:
    """``index.json`` of an archive.

    ``log_number`` is that of the newest entry of the lake's log when it was gathered.
    ``not_looked_into`` says which files nobody could look into, and why not.
    """

    id: str
    lake: str
    log_number: int
    made_at: datetime
    expires_at: datetime
    rows: int
    files: tuple[ExportedFile, ...]
    sources: tuple[ExportedFrom, ...]
    not_looked_into: Mapping[str, str]
    version: int = 1


@dataclass(frozen=True)
class ExportRecord:
    """What a lake knows of an export out of it, as long as that is kept.

    ``out`` is the place and ``archive`` the name there. ``subjects`` are keyed hashes of those who
    were asked for and of those whom the rows identify, and ``untagged`` the same without what
    follows a ``+`` in an email; sorted. With ``of_many`` the rows identify more than are listed.
    ``sha256`` is the archive's, empty as long as it is not finished, and so are the numbers 0.
    ``unread`` is how many files nobody could look into. ``machine`` is the one that ``out`` is a
    folder of; empty if it is not.
    """

    id: str
    out: str
    archive: str
    made_at: datetime
    expires_at: datetime
    subjects: tuple[str, ...]
    untagged: tuple[str, ...]
    of_many: bool = False
    sha256: str = ""
    etag: str = ""
    size: int = 0
    rows: int = 0
    by_type: Mapping[str, int] = field(default_factory=dict)
    unread: int = 0
    machine: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the archive was made, if not yet put in its place."""
        return bool(self.sha256)

    @property
    def address(self) -> str:
        """Where the archive lies, as a user would write it."""
        return f"{self.out.rstrip('/')}/{self.archive}"
