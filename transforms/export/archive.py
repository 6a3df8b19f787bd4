"""The archive of an export: a ZIP that is made as it is written.

    data/<type>.<format>    the rows of a record type
    dead_letters.<format>   records that could not be taken in
    summary.html            for the person whose data it is
    index.json              for machines

The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, with ZIP64 where it needs
to be.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from schemas.erasure import FileKind
from schemas.export import ArchiveIndex, ExportedFile, ExportFormat
from transforms.export.fields import Described
from transforms.export.parts import Member, Part, PartsArea
from transforms.export.summary import SHOWN_ROWS, summary_page
from transforms.export.writers import encoded_rows

INDEX, SUMMARY = "index.json", "summary.html"
_UNSAFE = re.compile(r"[^\w.-]|^\.+", re.ASCII)


@dataclass(frozen=True)
class ArchivePlan:
    """What goes into an archive. Of ``index`` the files are filled in as they are written."""

    index: ArchiveIndex
    form: ExportFormat
    parts: tuple[Part, ...]
    area: PartsArea
    described: Described


def archive_of(plan: ArchivePlan) -> Iterator[bytes]:
    """The archive, piece by piece. Raises as ``PartsArea.read`` does."""
    out = _Outgoing()
    files: list[ExportedFile] = []
    shown: dict[str, list[bytes]] = {}
    with zipfile.ZipFile(cast(Any, out), "w", zipfile.ZIP_DEFLATED) as archive:
        for content in _contents(plan):
            with archive.open(_info(content.name, plan.index), "w", force_zip64=True) as file:
                for piece in content.pieces(plan):
                    file.write(piece)
                    yield out.take()
            files.append(content.described(plan))
            shown[content.name] = content.first_rows
        index = replace(plan.index, files=tuple(files), rows=sum(file.rows for file in files))
        archive.writestr(_info(SUMMARY, index), summary_page(index, shown))
        archive.writestr(_info(INDEX, index), encoded_index(index))
    yield out.take()


def encoded_index(index: ArchiveIndex) -> bytes:
    """The index as it stands in the archive."""
    return msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n"


class _Content:
    """The rows of one member, and what is told of them once they are written."""

    def __init__(self, member: Member, name: str, parts: Sequence[Part]) -> None:
        self.name = name
        self.first_rows: list[bytes] = []
        self._member = member
        self._parts = parts
        self._columns = tuple(dict.fromkeys(one for part in parts for one in part.columns))
        self._digest = hashlib.sha256()
        self._size = 0

    def pieces(self, plan: ArchivePlan) -> Iterator[bytes]:
        """The file's content."""
        for piece in encoded_rows(plan.form, self._columns, self._lines(plan.area)):
            self._digest.update(piece)
            self._size += len(piece)
            yield piece

    def described(self, plan: ArchivePlan) -> ExportedFile:
        """What the index says of it, after all pieces were taken."""
        return ExportedFile(
            self.name,
            self._member.kind,
            self._member.type,
            plan.form,
            sum(part.rows for part in self._parts),
            self._size,
            self._digest.hexdigest(),
            plan.described.fields(self._member, self._columns),
        )

    def _lines(self, area: PartsArea) -> Iterator[bytes]:
        for part in self._parts:
            lines = area.read(part)
            left = SHOWN_ROWS - len(self.first_rows)
            if left:
                self.first_rows += filter(None, lines.split(b"\n", left)[:left])
            yield lines


def _contents(plan: ArchivePlan) -> Iterator[_Content]:
    taken: set[str] = set()
    for member in sorted({part.member for part in plan.parts}):
        name = _name(member, plan.form, taken)
        taken.add(name)
        yield _Content(member, name, [part for part in plan.parts if part.member == member])


def _name(member: Member, form: ExportFormat, taken: Iterable[str]) -> str:
    """A name that unpacks within a folder everywhere, whatever a type is called."""
    if member.kind is FileKind.DEAD_LETTERS:
        return f"dead_letters.{form}"
    safe = _UNSAFE.sub("_", member.type)
    name, number = f"data/{safe}.{form}", 1
    while name.lower() in {one.lower() for one in taken}:
        number += 1
        name = f"data/{safe}-{number}.{form}"
    return name


def _info(name: str, index: ArchiveIndex) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, index.made_at.timetuple()[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


class _Outgoing:
    """What is written, until it is taken; it cannot be gone back in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
