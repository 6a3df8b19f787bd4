"""Passes over a place: files are found, rewritten side by side, and put in place by one commit.

Passes follow one another until one finds nothing: what others have replaced meanwhile is read anew,
and what has come since is looked at, too. What a killed pass left is finished or cleared by
``DeliveryLog.recover``; nothing else is kept, for what is done has no matches any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog

from runners.alive import alive_run
from runners.erase_places import Place
from runners.file_runner import FileRunner
from runners.portions import portions
from schemas.erasure import ErasureMode, FileMatch
from stores.lake_files import LakeFile
from stores.log import ERASE, Commit, DeliveryLog, FilesTaken, Run, new_run_id
from stores.log_entries import bare_entry
from stores.subject_index import Probes, may_hold
from transforms.erasure.files import Erased
from transforms.erasure.work import CountMatches, FileWork, Findings, RewriteFiles, Sought

PASS_BYTES = 16 * 1024**3
"""Bytes of files that one commit replaces: what is staged takes as much room again."""

PASS_FILES = 2_000
"""Files that one commit replaces, so that an entry of the log stays small."""

_MOST_ROUNDS = 50
"""How often a place is gone through; after that a second look says what is still there."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Task:
    """What is done in a place. Without ``probes`` no index is asked, and every file is read."""

    sought: Sought = field(repr=False)
    mode: ErasureMode
    erasure_id: str
    probes: Probes | None = field(default=None, repr=False)


class Sweep:
    """Goes through one place for one erasure. Knows which contents are clean, and reads none twice.

    ``rows`` are those of all files as far as they were looked at, ``unread`` the files in which
    nobody could look, and why not.
    """

    def __init__(self, place: Place, task: Task, runner: FileRunner) -> None:
        self.place = place
        self.unread: dict[str, str] = {}
        self.rows = 0
        self._task = task
        self._runner = runner
        self._log = place.log
        self._looked_at: set[str] = set()
        self._read: set[str] = set()
        self._clean: set[tuple[str, str]] = set()
        self._written: dict[str, str] = {}

    @property
    def looked_at(self) -> int:
        """Files that are known to hold none of the subjects, or did."""
        return len(self._looked_at)

    @property
    def read(self) -> int:
        """Files of which more than the index was read."""
        return len(self._read)

    def count(self) -> tuple[FileMatch, ...]:
        """The files with rows of the subjects. Nothing is changed."""
        files = list(self._to_look_at())
        suspects = self._suspects(files)
        found = self._counted(suspects)
        counted = {match.path for match in found.matches}
        self.rows = sum(match.rows for match in found.matches)
        self.rows += sum(_rows_of(file) for file in files if file.path not in counted)
        matched = {match.path for match in found.matches if match.matched}
        self._note(suspects, found, matched)
        return tuple(match for match in found.matches if match.matched)

    def erase(self) -> None:
        """Replace files until none is left that holds rows of the subjects."""
        for _ in range(_MOST_ROUNDS):
            # Known before files are listed: whoever replaces one of them commits after this.
            number = self._log.published_up_to()
            suspects = self._suspects(self._to_look_at())
            some = portions(suspects, lambda file: file.info.size, PASS_BYTES, PASS_FILES)
            passed = [self._pass(number, files) for files in some]
            if not any(passed):
                return

    def start_over(self) -> None:
        """Forget what is clean, and trust no index."""
        self._clean.clear()
        self._written.clear()
        self._task = replace(self._task, probes=None)

    def _to_look_at(self) -> Iterator[LakeFile]:
        return (file for file in self.place.files() if not self._is_known(file))

    def _is_known(self, file: LakeFile) -> bool:
        """Whether this content is clean, or was written by this very erasure."""
        if (file.path, file.info.etag) in self._clean:
            return True
        written = self._written.get(file.path)
        return (
            file.is_as_logged and file.logged is not None and (file.logged.staged.sha256 == written)
        )

    def _suspects(self, files: Iterable[LakeFile]) -> list[LakeFile]:
        """Those that have to be read, the largest first; the others are clean."""
        suspects = []
        for file, is_suspect in self._asked(files):
            self._looked_at.add(file.path)
            if is_suspect:
                suspects.append(file)
            else:
                self._clean.add((file.path, file.info.etag))
        return sorted(suspects, key=lambda file: (-file.info.size, file.path))

    def _asked(self, files: Iterable[LakeFile]) -> Iterable[tuple[LakeFile, bool]]:
        if self._task.probes is None:
            return ((file, True) for file in files)
        return may_hold(self.place.store, files, self._task.probes)

    def _counted(self, files: Sequence[LakeFile]) -> Findings:
        return self._each(files, CountMatches(self._task.sought)) if files else Findings()

    def _pass(self, number: int, files: Sequence[LakeFile]) -> bool:
        """Rewrite some files, and put all in place that nobody else has taken meanwhile.

        Whether there is a reason to look again: something was replaced, taken, or gone.
        """
        run = self._log.begin(new_run_id(datetime.now(UTC)), number, ERASE)
        task = self._task
        with alive_run(self._log, run):
            found = self._each(files, RewriteFiles(run.run_id, task.sought, task.mode))
            commit = commit_erased(self._log, run, found.erased, task.erasure_id)
        _log.info("went through files", files=len(files), replaced=len(found.erased))
        replaced = self._replaced(commit)
        self._written.update(replaced)
        self._note(files, found, {one.erased.path for one in found.erased})
        return bool(found.erased or found.gone)

    def _replaced(self, commit: Commit | None) -> dict[str, str]:
        """The files that are now as the commit says, with their digests."""
        if commit is None:
            return {}
        others = set(self._log.conflicts(commit))
        digests = {file.path: file.staged.sha256 for file in commit.files}
        return {path: digest for path, digest in digests.items() if path not in others}

    def _note(self, files: Iterable[LakeFile], found: Findings, dirty: set[str]) -> None:
        """Remember what was found: files that are clean need no second look."""
        self.unread.update((one.path, one.reason) for one in found.unread)
        for file in files:
            self._read.add(file.path)
            if file.path not in dirty:
                self._clean.add((file.path, file.info.etag))

    def _each(self, files: Sequence[LakeFile], work: FileWork) -> Findings:
        return self._runner.each(files, work, self.place.store, self._task.erasure_id)


def commit_erased(
    log: DeliveryLog,
    run: Run,
    erased: Sequence[Erased],
    erasure_id: str,
    cleansed: tuple[int, ...] = (),
) -> Commit | None:
    """One entry of all that was rewritten, less what others took; None if nothing is left.

    With ``cleansed`` the entry is written all the same, but only if nothing was taken.
    """
    left, taken = list(erased), False
    while left or (cleansed and not taken):
        marks = () if taken else cleansed
        try:
            return log.commit(run, _draft(run, left, erasure_id, marks))
        except FilesTaken as refusal:
            left = [one for one in left if one.erased.path not in refusal.paths]
            taken = True
    return None


def _draft(
    run: Run, erased: Sequence[Erased], erasure_id: str, cleansed: tuple[int, ...]
) -> Commit:
    return replace(
        bare_entry(run.run_id, ERASE, datetime.now(UTC)),
        files=tuple(one.file for one in erased if one.file is not None),
        removed=tuple(one.erased.path for one in erased if one.file is None),
        erasure=erasure_id,
        erased=tuple(one.erased for one in erased),
        cleansed=cleansed,
    )


def unread_in(place: Place, unread: dict[str, str]) -> tuple[str, ...]:
    """In words, which files of a place nobody could look into."""
    return tuple(f"{place.shown(path)}: {why}" for path, why in sorted(unread.items()))


def _rows_of(file: LakeFile) -> int:
    return 0 if file.logged is None else file.logged.rows
