"""The audit log in DynamoDB.

Its newest entry's number and hash are one item, the head, which every transaction that adds entries
moves on if it still is what it was taken for: so numbers have no gap, and each entry holds the hash
of the one before it. Those of one process take turns; one that another process was faster than is
told the head with the refusal, and tries again at once. Changes of requests meet at the newest
place of the events as well, so the log makes them no slower than that does.

The entries of one resource are found by an index, which may be a moment behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from schemas.access import Reach
from schemas.audit import AuditCheckpoint, AuditDraft, AuditEntry, AuditHead, chained
from stores.state.audit_rows import read_detail, written_detail
from stores.state.dynamo.contention import Overtaken, done, one_at_a_time, raced
from stores.state.dynamo.items import (
    Item,
    Key,
    Value,
    decoded,
    digits,
    encoded,
    joined,
    key_of,
    micros,
    time_of,
)
from stores.state.dynamo.layout import EVERYWHERE, partition_of
from stores.state.dynamo.table import DynamoTable, Refused
from stores.state.dynamo.writes import ABSENT, Write, put, update

_ENTRIES = "audit"
_HEAD = Key(_ENTRIES, "head")
_CHECKPOINTS = "audit-checkpoints"
_BETWEEN = "#pk = :pk AND #sk BETWEEN :first AND :last"
_LAST = "9" * 16 + "~"

_PAGE = 100

Put = Callable[[Sequence[Write]], None]
"""Does these writes together with others, after them; what it refuses is of all, in this order."""


class AuditChain:
    """What adds entries together with the changes that they tell of; one a process."""

    def __init__(self, table: DynamoTable, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._clock = clock
        self._turn = threading.Lock()
        self._head: AuditHead | None = None

    def commit(self, drafts: Sequence[AuditDraft], put_all: Put) -> list[AuditEntry]:
        """Have ``put_all`` write entries and what they tell of.

        Raises ``Refused``, about those other writes, if a condition of theirs does not hold.
        """
        with one_at_a_time(self._turn):
            return raced(lambda: self._attempt(drafts, put_all))

    def head(self) -> AuditHead:
        """The head as the table has it."""
        item = self._table.get(_HEAD)
        return AuditHead() if item is None else _head(item)

    def _attempt(self, drafts: Sequence[AuditDraft], put_all: Put) -> list[AuditEntry]:
        before = self.head() if self._head is None else self._head
        entries = _chain(drafts, self._clock(), before)
        writes = [_moved(before, entries[-1].head), *map(_kept, entries)]
        try:
            put_all(writes)
        except Refused as refused:
            raise self._reason(refused, len(writes)) from None
        self._head = entries[-1].head
        return entries

    def _reason(self, refused: Refused, ours: int) -> Exception:
        """Why it was: a condition of the change itself, or the head only."""
        found = refused.found[0]
        if refused.failed[0]:
            self._head = None if found is None else _head(found)
        if any(refused.failed[ours:]):
            return Refused(refused.failed[ours:], refused.found[ours:])
        return Overtaken()


class DynamoAudit:
    """See ``stores.state.dsr_port.AuditLog``."""

    def __init__(self, table: DynamoTable, chain: AuditChain) -> None:
        self._table = table
        self._chain = chain

    def append(self, draft: AuditDraft) -> AuditEntry:
        return self._chain.commit([draft], self._table.transact)[0]

    def head(self) -> AuditHead:
        return self._chain.head()

    def entries(self, after: int, limit: int) -> list[AuditEntry]:
        return [_entry(item) for item in islice(self._after(_ENTRIES, after, limit), limit)]

    def of(self, resource: str, reach: Reach) -> Iterator[AuditEntry]:
        values: dict[str, Value] = {"list": joined(_ENTRIES, resource)}
        condition = f"#{partition_of(EVERYWHERE)} = :list"
        keys = map(key_of, self._table.query(condition, EVERYWHERE, values=values, page=_PAGE))
        while some := list(islice(keys, _PAGE)):
            entries = map(_entry, self._table.get_all(some))
            yield from (entry for entry in entries if _is_within(entry, reach))

    def keep_checkpoint(self, checkpoint: AuditCheckpoint) -> None:
        sk = joined(digits(checkpoint.sequence), checkpoint.key_id)
        done(self._table, [put({**encoded(checkpoint), "pk": _CHECKPOINTS, "sk": sk}, ABSENT)])

    def checkpoints(self, after: int, limit: int) -> list[AuditCheckpoint]:
        items = islice(self._after(_CHECKPOINTS, after, limit), limit)
        return [decoded(AuditCheckpoint, item) for item in items]

    def newest_checkpoint(self) -> AuditCheckpoint | None:
        values: dict[str, Value] = {"pk": _CHECKPOINTS}
        items = self._table.query("#pk = :pk", values=values, newest_first=True, page=1)
        return next((decoded(AuditCheckpoint, item) for item in items), None)

    def _after(self, pk: str, after: int, limit: int) -> Iterator[Item]:
        values: dict[str, Value] = {"pk": pk, "first": digits(after + 1), "last": _LAST}
        return self._table.query(_BETWEEN, values=values, page=limit)


def _chain(drafts: Sequence[AuditDraft], at: datetime, head: AuditHead) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for draft in drafts:
        entries.append(chained(draft, at, entries[-1].head if entries else head))
    return entries


def _moved(before: AuditHead, after: AuditHead) -> Write:
    change = "SET #sequence = :sequence, #hash = :hash"
    now: dict[str, Value] = {"sequence": after.sequence, "hash": after.hash}
    if before.sequence == 0:
        return update(_HEAD, change, ABSENT, **now)
    unmoved = "#sequence = :before AND #hash = :known"
    return update(_HEAD, change, unmoved, **now, before=before.sequence, known=before.hash)


def _kept(entry: AuditEntry) -> Write:
    item: Item = {
        **vars(entry.draft),
        "detail": written_detail(entry.draft),
        "pk": _ENTRIES,
        "sk": digits(entry.sequence),
        "sequence": entry.sequence,
        "at": micros(entry.at),
        "previous": entry.previous,
        "hash": entry.hash,
        "list_all": joined(_ENTRIES, entry.draft.resource),
        "list_time": digits(entry.sequence),
    }
    return put(item, ABSENT)


def _entry(item: Item) -> AuditEntry:
    actor, organization, action = item["actor"], item["organization"], item["action"]
    detail = read_detail(item["detail"])
    draft = AuditDraft(actor, organization, action, item["resource"], detail)
    at = time_of(item["at"])
    return AuditEntry(item["sequence"], at, draft, item["previous"], item["hash"])


def _head(item: Item) -> AuditHead:
    return AuditHead(item["sequence"], item["hash"])


def _is_within(entry: AuditEntry, reach: Reach) -> bool:
    limits = ((entry.draft.organization, reach.organization), (entry.draft.actor, reach.owner))
    return all(limit in {None, value} for value, limit in limits)
