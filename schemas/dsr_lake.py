"""What the lake has to do for a data subject request, and how far that is.

    waiting <──> running ──> done
       │  ^         └──────> held: too much would go
       v  │ approved
    counting ──> held ──> denied

An erasure that certified less than all is no end: it waits again for deliveries that had begun
before, and is ``parked`` if something was not reached. What cannot be done is parked, too, until
somebody has it tried again, or accepts what was certified. ``unsearched`` is a request of
which nothing in the lake could be found by any identity that it names. Nothing here names a
subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.events import shown_time


class LakeState(StrEnum):
    """How far the lake is with a request."""

    WAITING = "waiting"
    COUNTING = "counting"
    HELD = "held"
    RUNNING = "running"
    DONE = "done"
    DENIED = "denied"
    PARKED = "parked"
    UNSEARCHED = "unsearched"

    @property
    def is_over(self) -> bool:
        """Whether the lake has nothing left to do."""
        return self in {LakeState.DONE, LakeState.DENIED, LakeState.UNSEARCHED}


JOB_KIND = "lake"
"""The kind of jobs that answer requests from the lake."""

REQUESTS = "requests"
"""The parameter of such a job that holds the ids of its requests."""

UNDER_WAY = frozenset({LakeState.COUNTING, LakeState.RUNNING})
"""What a job is at, or was when it was lost."""


@dataclass(frozen=True)
class LakePreview:
    """What an erasure would take: ``rows`` of all ``rows_in_all``, in so many files, by type."""

    id: str
    rows: int
    rows_in_all: int
    files: int
    by_type: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LakeCertificate:
    """What a certificate of erasure says, in figures.

    ``requests`` were answered by it together: rows and files are those of all of them.
    ``unreachable`` is how much could not be reached, ``open_runs`` how many deliveries had begun
    before and not ended. ``job_id`` is the job that made it, ``missed`` how much of what it was to
    reach it did not.
    """

    id: str
    sha256: str
    requests: int
    rows: int
    files: int
    unreachable: int = 0
    open_runs: int = 0
    job_id: str = ""
    missed: int = 0


@dataclass(frozen=True)
class LakeExport:
    """An archive of the subject's rows; ``unread`` files could not be looked into."""

    id: str
    archive: str
    sha256: str
    rows: int
    expires_at: datetime
    unread: int = 0


@dataclass(frozen=True)
class LakeWork:
    """The lake's part in a request. All times are UTC.

    ``alone`` says that no processor has a part in it. ``unsearched`` are the types of identities
    that nothing in the lake is found by. ``began_at`` is set once rows may be gone or gathered, and
    ``processor_done_at`` when the processor has done its part before the lake has. ``reason`` says
    why it is held or parked, or is to be parked as soon as somebody could be told, or waits again:
    until ``try_at``. ``earlier`` are certificates of
    erasures before that of ``certificate``, the oldest first.
    """

    state: LakeState = LakeState.WAITING
    alone: bool = True
    unsearched: tuple[str, ...] = ()
    job_id: str | None = None
    preview: LakePreview | None = None
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None
    began_at: datetime | None = None
    certificate: LakeCertificate | None = None
    export: LakeExport | None = None
    done_at: datetime | None = None
    processor_done_at: datetime | None = None
    reason: str | None = None
    try_at: datetime | None = None
    earlier: tuple[LakeCertificate, ...] = ()

    def certified(self, certificate: LakeCertificate) -> LakeWork:
        """With another certificate, beside those that there are; as it is if it has this one."""
        if self.certificate == certificate:
            return self
        known = () if self.certificate is None else (self.certificate,)
        return replace(self, certificate=certificate, earlier=(*self.earlier, *known))

    @property
    def is_approved(self) -> bool:
        """Whether a reviewer has seen what would go, and let it go."""
        return self.reviewed_at is not None and self.state is not LakeState.DENIED


def shown_lake(work: LakeWork | None) -> dict[str, Any] | None:
    """The lake's part as clients see it."""
    if work is None:
        return None
    return {
        "state": work.state.value,
        "unsearched": [*work.unsearched],
        "preview": _shown_preview(work.preview),
        "reviewedBy": work.reviewed_by,
        "reviewedAt": shown_time(work.reviewed_at),
        "beganAt": shown_time(work.began_at),
        "doneAt": shown_time(work.done_at),
        "processorDoneAt": shown_time(work.processor_done_at),
        "tryAt": shown_time(work.try_at),
        "certificate": _shown_certificate(work.certificate),
        "earlierCertificates": [*map(_shown_certificate, work.earlier)],
        "export": _shown_export(work.export),
        "reason": work.reason,
    }


def _shown_preview(preview: LakePreview | None) -> dict[str, Any] | None:
    if preview is None:
        return None
    return {
        "id": preview.id,
        "rows": preview.rows,
        "rowsInAll": preview.rows_in_all,
        "files": preview.files,
        "byType": dict(preview.by_type),
    }


def _shown_certificate(made: LakeCertificate | None) -> dict[str, Any] | None:
    if made is None:
        return None
    return {
        "id": made.id,
        "sha256": made.sha256,
        "requests": made.requests,
        "rows": made.rows,
        "files": made.files,
        "unreachable": made.unreachable,
        "openRuns": made.open_runs,
    }


def _shown_export(made: LakeExport | None) -> dict[str, Any] | None:
    if made is None:
        return None
    return {
        "id": made.id,
        "archive": made.archive,
        "sha256": made.sha256,
        "rows": made.rows,
        "expiresAt": shown_time(made.expires_at),
        "unread": made.unread,
    }
