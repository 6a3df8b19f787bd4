"""Certify: what an erasure did, read back from the log, and looked at once more in another way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runners.erase_places import Place
from runners.file_runner import FileRunner
from schemas.erasure import ErasedFile
from schemas.errors import LakeError
from stores.lake_files import LakeFile
from transforms.erasure.second_look import SecondLook, Seen
from transforms.erasure.work import LookAgain


class NotErased(LakeError):
    """A second look found a subject again, or not the rows that should have remained."""

    code = "not_erased"


@dataclass(frozen=True)
class Verdict:
    """What a second look at a place found. ``dirty`` are files with rows of the subjects.

    ``rows`` are the survivors that were counted in the files that the erasure replaced, and
    ``wrong`` those of them whose number is not the one that the log says. ``unread`` are files in
    which nobody could look, and why not.
    """

    dirty: tuple[str, ...] = ()
    rows: int = 0
    wrong: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


def erased_in(
    place: Place, erasure_id: str, after: int = 0
) -> tuple[tuple[ErasedFile, ...], tuple[int, ...]]:
    """What the entries of an erasure say was done, each file once, and the entries' numbers.

    All of them are later than the entry ``after``.
    """
    files: dict[str, ErasedFile] = {}
    entries = []
    for commit in place.log.commits(after=after):
        if commit.erasure == erasure_id:
            entries.append(commit.number)
            for file in commit.erased:
                files[file.path] = _joined(files.get(file.path), file)
    return tuple(files[path] for path in sorted(files)), tuple(entries)


def _joined(before: ErasedFile | None, after: ErasedFile) -> ErasedFile:
    """A file that was replaced twice, as one replacement.

    If the second one did not read what the first one wrote, that never came into its place.
    """
    if before is None or before.sha256_after != after.sha256_before:
        return after
    return replace(
        after,
        rows_before=before.rows_before,
        matched=before.matched + after.matched,
        sha256_before=before.sha256_before,
        etag=before.etag,
    )


def verdict_on(
    place: Place,
    erased: Sequence[ErasedFile],
    sought: SecondLook,
    erasure_id: str,
    runner: FileRunner,
) -> Verdict:
    """Look at all files of a place once more."""
    files = list(place.files())
    if not files:
        return Verdict()
    found = runner.each(files, LookAgain(sought), place.store, erasure_id)
    rows = {seen.path: seen for seen in found.seen}
    expected = list(_still_there(erased, files))
    return Verdict(
        dirty=tuple(place.shown(seen.path) for seen in found.seen if seen.found),
        rows=sum(file.rows_after for file in expected if _is_right(file, rows)),
        wrong=tuple(place.shown(file.path) for file in expected if not _is_right(file, rows)),
        unread={one.path: one.reason for one in found.unread},
    )


def _still_there(erased: Iterable[ErasedFile], files: Iterable[LakeFile]) -> Iterator[ErasedFile]:
    """The files that the erasure replaced and nobody has replaced since."""
    digests = {
        file.path: file.logged.staged.sha256
        for file in files
        if file.logged is not None and file.is_as_logged
    }
    return (one for one in erased if one.sha256_after and digests.get(one.path) == one.sha256_after)


def _is_right(file: ErasedFile, seen: dict[str, Seen]) -> bool:
    """Whether the survivors are as many as the log says; where rows can be told from lines."""
    found = seen.get(file.path)
    return found is None or found.rows is None or found.rows == file.rows_after
