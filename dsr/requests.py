"""Looking requests up: by id, by subject, and those that are at risk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from dsr.changing import found, resource_of
from dsr.desk import Desk
from schemas.access import Reach
from schemas.audit import AuditEntry
from schemas.dsr import Dsr, DsrCursor, DsrQuery, DsrStatus, DueCursor, Identity, Particulars
from schemas.identities import checked

MOST_IDS = 100


@dataclass(frozen=True)
class Search:
    """Which requests, newest first: of this subject, of this status, after this one."""

    identity: Identity | None = None
    status: DsrStatus | None = None
    after: DsrCursor | None = None
    limit: int = 50


def search(desk: Desk, asked: Search, reach: Reach) -> list[Dsr]:
    """Requests within reach. Raises ``Invalid`` for an identity that can be none.

    Of a subject that nobody asked for, and of one out of reach, it is as empty and takes as long.
    """
    subject = None
    if asked.identity is not None:
        subject = desk.subjects.hash_of(checked(asked.identity))
    query = DsrQuery(subject, asked.status, asked.limit, asked.after)
    return desk.requests.find(query, reach)


def get_many(desk: Desk, request_ids: Sequence[str], reach: Reach) -> list[Dsr]:
    """Those within reach, in the order asked for, each once; ``MOST_IDS`` ids at most."""
    return desk.requests.get_many([*dict.fromkeys(request_ids)], reach)


def at_risk(
    desk: Desk,
    reach: Reach,
    limit: int,
    days: int | None = None,
    after: DueCursor | None = None,
) -> list[Dsr]:
    """Open requests with so many ``days_left`` or fewer, or overdue, the soonest first.

    Without ``days`` the settings say how many. Those that follow ``after``.
    """
    left = desk.section.at_risk_days if days is None else days
    return desk.requests.due_before(desk.clock() + timedelta(days=left + 1), reach, limit, after)


def particulars(desk: Desk, dsr: Dsr) -> Particulars:
    """Who a request is about; empty once it is minimised. Raises ``SealBroken``."""
    if not dsr.sealed:
        return Particulars(())
    return desk.subjects.open(dsr.id, dsr.sealed)


def history(
    desk: Desk, request_id: str, reach: Reach, audit_reach: Reach, limit: int
) -> Iterator[AuditEntry]:
    """The first entries of the audit log about a request that is within ``reach``.

    Raises ``NotFound``.
    """
    found(desk, request_id, reach)
    return islice(desk.audit.of(resource_of(request_id), audit_reach), limit)
