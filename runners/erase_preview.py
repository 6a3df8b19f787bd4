"""What an erasure would do, counted, and whether that is more than anyone may have meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.erasure import ErasureMode, FileKind, FileMatch, Preview
from schemas.errors import LetheError
from stores.previews import KEPT_FOR


class MatchShareExceeded(LetheError):
    """More rows belong to the subjects than an erasure may take without being looked at."""

    code = "match_share_exceeded"
    http_status = 409
    exit_status = 3


@dataclass(frozen=True)
class Counted:
    """How many of how many rows belong to the subjects, and where. Files have names as shown.

    ``unread`` says in words which files nobody could look into.
    """

    rows: int
    files: tuple[FileMatch, ...]
    unread: tuple[str, ...] = ()

    @property
    def matched(self) -> int:
        return sum(file.matched for file in self.files)

    @property
    def share(self) -> float:
        return self.matched / self.rows if self.rows else 0.0


def check_share(counted: Counted, most: float) -> None:
    """Raise ``MatchShareExceeded`` if too large a share of all rows would go."""
    if counted.share > most:
        raise MatchShareExceeded(
            f"{counted.matched:,} of {counted.rows:,} rows ({counted.share:.1%}) belong to the "
            f"subjects, more than --max-match-share {most:.1%}: nothing was changed; look at them "
            "by --dry-run and run that preview, or allow a larger share"
        )


def preview_of(
    counted: Counted,
    preview_id: str,
    mode: ErasureMode,
    subjects: int,
    now: datetime,
) -> Preview:
    """The preview of what was counted; who it is about is not in it yet."""
    return Preview(
        id=preview_id,
        made_at=now,
        expires_at=now + KEPT_FOR,
        mode=mode,
        subjects=subjects,
        rows=counted.rows,
        matched=counted.matched,
        files=counted.files,
        by_type=_sums(counted.files, _type_of),
        by_date=_sums((file for file in counted.files if file.date), lambda file: str(file.date)),
        sealed=b"",
        unread=counted.unread,
    )


def drift(preview: Preview, counted: Counted) -> str:
    """In words, how what was counted differs from a preview; empty if it does not."""
    before, after = (preview.matched, len(preview.files)), (counted.matched, len(counted.files))
    if before == after:
        return ""
    return (
        f"previewed were {before[0]:,} rows in {before[1]:,} files, "
        f"now there are {after[0]:,} in {after[1]:,}"
    )


def _type_of(file: FileMatch) -> str:
    return file.type or (file.kind.value if file.kind is not FileKind.DATA else "unknown")


def _sums(files: Iterable[FileMatch], name: Callable[[FileMatch], str]) -> Mapping[str, int]:
    sums = Counter[str]()
    for file in files:
        sums[name(file)] += file.matched
    return dict(sorted(sums.items()))
