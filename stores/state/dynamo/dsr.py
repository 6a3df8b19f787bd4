"""Data subject requests in DynamoDB.

Beside a request stand items that say what it is among, kept in the same transactions: one a subject
that it is found by, through an index; one a subject while it is open, of which there can be only
one; one while it is held, parked or waits for a processor, is to be cancelled there, or asked
about. Only lists that people look at, deadlines, and what is to be minimised, rest on an index,
which may be a moment behind. An earlier Lethe kept fewer of these items: what it left is given them
a page at a time, by whoever looks for what is to be asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.dsr import Dsr, DsrQuery, DsrStatus, DueCursor, OpenTally, event_of_dsr
from schemas.dsr_lake import UNDER_WAY, LakeState
from schemas.errors import StoreError, TooLarge
from schemas.events import Topic
from stores.state.dsr_rows import DsrRow, check_apart, dsr_of, open_claims, open_exists, row_of
from stores.state.dynamo.audit import AuditChain
from stores.state.dynamo.contention import done
from stores.state.dynamo.items import Item, Key, decoded, encoded, joined, key_of, micros, moment
from stores.state.dynamo.listing import (
    Listing,
    count_due,
    due,
    due_after,
    due_before,
    listed,
    listed_of,
    records_of,
)
from stores.state.dynamo.outbox import EventLog, events_key
from stores.state.dynamo.table import MOST_WRITES, DynamoTable, Refused
from stores.state.dynamo.writes import ABSENT, Write, check, delete, put

_RECORD = "record"
_HELD = "dsrs-held"
_WAITING = "dsrs-waiting"
_PARKED = "dsrs-parked"
_TO_CANCEL = "dsrs-to-cancel"
_TO_ASK_ABOUT = "dsrs-to-ask-about"
_OPEN = "dsrs-open"
_LAKE_STATES = UNDER_WAY | {LakeState.WAITING}
_CLOSED = "dsrs-closed"
_LISTED = ("dsrs",)
_UNCHANGED = "#version = :before"
_PAGE = 100
_MICROSECOND = timedelta(microseconds=1)

_ALWAYS_MARKED = {_WAITING, _TO_CANCEL}
_MARKED_AT_ONCE = 50

_ALL_MARKED = Key("layout", "dsrs-marked")
"""Stands in a table in which no request is left that an earlier Lethe has marked less."""

_EVER = datetime(2200, 1, 1, tzinfo=UTC)
_EVERYWHERE = Reach(None)

_COMMIT = 3
"""Further writes of a transaction: of the events' commit and place, and of the audit log's head."""

_TOLD = 2
"""Further writes a request: its event and its audit entry."""


class DynamoDsr:
    """See ``stores.state.dsr_port.DsrStore``."""

    def __init__(self, table: DynamoTable, log: EventLog, chain: AuditChain) -> None:
        self._table = table
        self._log = log
        self._chain = chain
        self._all_marked = False
        self._marked_up_to: DueCursor | None = None

    def open(self) -> None:
        """Note it if the table has no open request yet, as a new one."""
        self._all_marked = self._table.get(_ALL_MARKED) is not None
        if not self._all_marked and not self.due_before(_EVER, _EVERYWHERE, 1):
            self._note_all_marked()

    def add(self, requests: Sequence[Dsr], drafts: Sequence[AuditDraft]) -> None:
        """Also raises ``TooLarge`` for more than a transaction can hold: 16 of one subject each.

        One request always fits, with as many identities as it may have.
        """
        check_apart(requests)
        writes = [put(item, ABSENT) for dsr in requests for item in _items(dsr)]
        needed = len(writes) + _TOLD * len(requests) + _COMMIT
        if needed > MOST_WRITES:
            raise TooLarge(
                f"requests: all or none of these {len(requests)} take {needed} writes, and a "
                f"transaction of DynamoDB has {MOST_WRITES}: add fewer at once, or each on its own",
                limit=MOST_WRITES,
            )
        try:
            self._commit(writes, requests, drafts)
        except Refused as refused:
            raise _why_not(refused, {dsr.id for dsr in requests}) from None

    def get(self, request_id: str, reach: Reach) -> Dsr | None:
        item = self._table.get(dsr_key(request_id))
        return None if item is None else _visible(item, reach)

    def get_many(self, request_ids: Sequence[str], reach: Reach) -> list[Dsr]:
        items = self._table.get_all([dsr_key(one) for one in request_ids])
        found = (_visible(item, reach) for item in items)
        return [dsr for dsr in found if dsr is not None]

    def find(self, query: DsrQuery, reach: Reach) -> list[Dsr]:
        after = None if query.after is None else (query.after.received_at, query.after.id)
        linked = _links_of(query)
        if linked is None:
            equal = {} if query.status is None else {"status": query.status.value}
            keys = Listing(self._table, _LISTED, reach).keys(equal, after)
        else:
            links = Listing(self._table, linked, reach).keys({}, after)
            keys = (Key(link.pk, _RECORD) for link in links)

        def read(item: Item) -> Dsr | None:
            dsr = _visible(item, reach)
            return dsr if dsr is not None and _matches(dsr, query) else None

        return records_of(self._table, keys, read, query.limit)

    def change(self, changed: Dsr, draft: AuditDraft) -> Dsr | None:
        item = self._table.get(dsr_key(changed.id))
        before = None if item is None else _dsr(item)
        if before is None or not _may_become(before, changed):
            return None
        kept = replace(changed, version=changed.version + 1)
        try:
            self._commit(_changes(before, kept), [kept], [draft])
        except Refused:
            return None
        return kept

    def waiting(self, now: datetime, limit: int) -> list[Dsr]:
        """Remembers the subjects of all that wait and are not due, until ``limit`` is reached."""

        def read(item: Item) -> Dsr | None:
            dsr = _dsr(item)
            return dsr if _waits(dsr) and _is_due(dsr, now) else None

        return records_of(self._table, self._first_in_line(now), read, limit)

    def to_cancel(self, now: datetime, limit: int) -> list[Dsr]:
        def read(item: Item) -> Dsr | None:
            dsr = _dsr(item)
            return dsr if _is_to_cancel(dsr) and _is_due(dsr, now) else None

        due_ones = (item for item in self._marked(_TO_CANCEL) if _is_item_due(item, now))
        return records_of(self._table, map(_key_of_marked, due_ones), read, limit)

    def to_ask_about(self, now: datetime, limit: int) -> list[Dsr]:
        """Also marks some of what an earlier Lethe has left, until all of it is."""
        self._mark_some(now)

        def read(item: Item) -> Dsr | None:
            dsr = _dsr(item)
            return dsr if _is_to_ask_about(dsr) and _is_due(dsr, now) else None

        values = {"pk": _TO_ASK_ABOUT, "after": moment(now + _MICROSECOND)}
        due_ones = self._table.query("#pk = :pk AND #sk < :after", values=values, page=_PAGE)
        return records_of(self._table, map(_key_of_marked, due_ones), read, limit)

    def at_lake(self, states: Collection[LakeState], limit: int) -> list[Dsr]:
        def read(item: Item) -> Dsr | None:
            dsr = _dsr(item)
            return (
                dsr
                if _lake_mark(dsr) and dsr.lake is not None and dsr.lake.state in states
                else None
            )

        marked = (item for state in sorted(states) for item in self._marked(_at_lake(state)))
        return records_of(self._table, map(_key_of_marked, marked), read, limit)

    def due_before(
        self, moment: datetime, reach: Reach, limit: int, after: DueCursor | None = None
    ) -> list[Dsr]:
        place = None if after is None else (after.due_at, after.id)
        items, found = due_after(self._table, _OPEN, place, moment), list[Dsr]()
        while len(found) < limit and (some := list(islice(items, min(limit, _PAGE)))):
            found += self._still_due(some, reach)
        return found[:limit]

    def tally(self, due_before: datetime) -> OpenTally:
        held, queued, parked = (
            self._table.count("#pk = :pk", values={"pk": pk}) for pk in (_HELD, _WAITING, _PARKED)
        )
        return OpenTally(held, queued, parked, count_due(self._table, _OPEN, due_before))

    def to_minimise(self, closed_before: datetime, limit: int) -> list[Dsr]:
        def read(item: Item) -> Dsr | None:
            dsr = _dsr(item)
            return dsr if dsr.minimised_at is None else None

        return records_of(self._table, due_before(self._table, _CLOSED, closed_before), read, limit)

    def _mark_some(self, now: datetime) -> None:
        if self._all_marked:
            return
        page = self.due_before(_EVER, _EVERYWHERE, _MARKED_AT_ONCE, self._marked_up_to)
        for dsr in page:
            self._mark(dsr, now)
            self._marked_up_to = DueCursor(dsr.due_at, dsr.id)
        if len(page) < _MARKED_AT_ONCE:
            self._note_all_marked()

    def _mark(self, dsr: Dsr, now: datetime) -> None:
        """Whoever changes the request meanwhile marks it, too."""
        if _is_never_asked_about(dsr):
            forwarding = replace(dsr.forwarding, next_try_at=dsr.updated_at)
            resource = f"dsr:{dsr.id}"
            draft = AuditDraft("upgrade", dsr.organization, "dsr.to_be_asked_about", resource)
            self.change(replace(dsr, updated_at=now, forwarding=forwarding), draft)
        elif _queue_of(dsr) not in _ALWAYS_MARKED and (marks := _marks(dsr)):
            same = check(dsr_key(dsr.id), _UNCHANGED, before=dsr.version)
            done(self._table, [same, *map(put, marks)])

    def _note_all_marked(self) -> None:
        self._table.transact([put({"pk": _ALL_MARKED.pk, "sk": _ALL_MARKED.sk})])
        self._all_marked = True

    def _commit(
        self, writes: Sequence[Write], requests: Sequence[Dsr], drafts: Sequence[AuditDraft]
    ) -> None:
        events = [event_of_dsr(dsr) for dsr in requests]
        if events:
            self._chain.commit(drafts, lambda ours: self._log.commit([*ours, *writes], events))

    def _first_in_line(self, now: datetime) -> Iterator[Key]:
        """The keys of what is due and has no subject in common with what waits before it."""
        before: set[str] = set()
        for item in self._marked(_WAITING):
            subjects = item.get("subjects", frozenset())
            if before.isdisjoint(subjects) and _is_item_due(item, now):
                yield _key_of_marked(item)
            before |= subjects

    def _still_due(self, items: Sequence[Item], reach: Reach) -> list[Dsr]:
        """The requests of these places in the index, but for those that have another place by now.

        So they come in the order of their deadlines, and a cursor passes none over.
        """
        places = {key_of(item): item["due_time"] for item in items}
        records = self._table.get_all(list(places))
        still = (one for one in records if one.get("due_time") == places[key_of(one)])
        found = (_visible(record, reach) for record in still)
        return [dsr for dsr in found if dsr is not None and not dsr.status.is_final]

    def _marked(self, pk: str) -> Iterator[Item]:
        return self._table.query("#pk = :pk", values={"pk": pk}, page=_PAGE)


def dsr_key(request_id: str) -> Key:
    return Key(events_key(Topic("dsr", request_id)), _RECORD)


def _changes(before: Dsr, after: Dsr) -> list[Write]:
    """The writes that put a request, and what stands beside it, into the place of what was."""
    was = {key_of(item): item for item in _beside(before)}
    is_now = {key_of(item): item for item in _beside(after)}
    return [
        put(_record(after), _UNCHANGED, before=before.version),
        *(put(item) for key, item in is_now.items() if item != was.get(key)),
        *(delete(key) for key in was if key not in is_now),
    ]


def _items(dsr: Dsr) -> list[Item]:
    return [_record(dsr), *_beside(dsr)]


def _record(dsr: Dsr) -> Item:
    seen = _listed_as(_LISTED, dsr)
    return {**encoded(row_of(dsr)), **seen, **_due(dsr), **dsr_key(dsr.id)._asdict()}


def _due(dsr: Dsr) -> Item:
    """By which time it is looked for: its deadline, or that of minimising it."""
    if not dsr.status.is_final:
        return due(_OPEN, dsr.due_at, dsr.id)
    if dsr.closed_at is None or dsr.minimised_at is not None:
        return {}
    return due(_CLOSED, dsr.closed_at, dsr.id)


def _beside(dsr: Dsr) -> list[Item]:
    """The items that say what a request is among."""
    pk = dsr_key(dsr.id).pk
    links = [
        {"pk": pk, "sk": joined("subject", subject), **_listed_as(_of(subject), dsr)}
        for subject in dict.fromkeys(dsr.subjects)
    ]
    if dsr.group_hash is not None:
        links.append({"pk": pk, "sk": "group", **_listed_as(_in(dsr.group_hash), dsr)})
    claims = [
        {"pk": joined("dsr-open", *claim), "sk": "claim", "id": dsr.id}
        for claim in sorted(open_claims(dsr))
    ]
    return [*links, *claims, *_marks(dsr), *_lake_mark(dsr)]


def _marks(dsr: Dsr) -> list[Item]:
    """What whoever talks to processors has to find, and what is counted."""
    next_try = dsr.forwarding.next_try_at
    if next_try is not None and _is_to_ask_about(dsr):
        return [{"pk": _TO_ASK_ABOUT, "sk": moment(next_try, dsr.id), "id": dsr.id}]
    pk = _queue_of(dsr)
    if pk is None:
        return []
    mark: dict[str, Any] = {
        "pk": pk,
        "sk": moment(dsr.received_at, dsr.id),
        "id": dsr.id,
        "next_try": 0 if next_try is None else micros(next_try),
    }
    subjects = _in_organization(dsr)
    return [{**mark, "subjects": subjects} if subjects and _waits(dsr) else mark]


def _lake_mark(dsr: Dsr) -> list[Item]:
    """What whoever has the lake's part done has to find."""
    is_open = dsr.status in {DsrStatus.QUEUED, DsrStatus.SUBMITTED, DsrStatus.IN_PROGRESS}
    if dsr.lake is None or dsr.lake.state not in _LAKE_STATES:
        return []
    if not is_open or dsr.cancel_requested_at is not None:
        return []
    pk = _at_lake(dsr.lake.state)
    return [{"pk": pk, "sk": moment(dsr.received_at, dsr.id), "id": dsr.id}]


def _at_lake(state: LakeState) -> str:
    return f"dsrs-lake-{state}"


def _queue_of(dsr: Dsr) -> str | None:
    """Which of those it stands in, if in any."""
    if dsr.status is DsrStatus.HELD:
        return _HELD
    if dsr.parked_reason is not None:
        return None if dsr.status.is_final else _PARKED
    if dsr.status is DsrStatus.QUEUED:
        return _WAITING
    return _TO_CANCEL if _is_to_cancel(dsr) else None


def _in_organization(dsr: Dsr) -> frozenset[str]:
    return frozenset(joined(dsr.organization, subject) for subject in dsr.subjects)


def _of(subject: str) -> tuple[str, str]:
    """The list of a subject's requests."""
    return ("dsrs-of", subject)


def _in(group_hash: str) -> tuple[str, str]:
    """The list of a group's requests."""
    return ("dsrs-in", group_hash)


def _links_of(query: DsrQuery) -> tuple[str, str] | None:
    """The list by which a query finds; None if that of all."""
    if query.group_hash is not None:
        return _in(query.group_hash)
    return None if query.subject is None else _of(query.subject)


def _listed_as(what: tuple[str, ...], dsr: Dsr) -> Item:
    everybodys = listed(what, dsr.received_at, dsr.id)
    return {**everybodys, **listed_of(what, dsr.organization, dsr.owner)}


def _key_of_marked(item: Item) -> Key:
    return dsr_key(item["id"])


def _is_item_due(item: Item, now: datetime) -> bool:
    return bool(item["next_try"] <= micros(now))


def _waits(dsr: Dsr) -> bool:
    return dsr.status is DsrStatus.QUEUED and dsr.parked_reason is None


def _is_to_cancel(dsr: Dsr) -> bool:
    asked = dsr.cancel_requested_at is not None and dsr.parked_reason is None
    return asked and dsr.status is DsrStatus.SUBMITTED


def _is_to_ask_about(dsr: Dsr) -> bool:
    is_there = dsr.status in {DsrStatus.SUBMITTED, DsrStatus.IN_PROGRESS}
    is_asked = dsr.forwarding.next_try_at is not None and dsr.parked_reason is None
    return is_there and is_asked and not _is_to_cancel(dsr)


def _is_never_asked_about(dsr: Dsr) -> bool:
    """Whether its processor has it, and it is in no list: so an earlier Lethe has left them."""
    known = dsr.forwarding
    is_there = dsr.status in {DsrStatus.SUBMITTED, DsrStatus.IN_PROGRESS}
    is_there = is_there and known.processor is not None and dsr.lake is None
    return is_there and known.next_try_at is None and _queue_of(dsr) is None


def _is_due(dsr: Dsr, now: datetime) -> bool:
    next_try = dsr.forwarding.next_try_at
    return next_try is None or next_try <= now


def _may_become(before: Dsr, changed: Dsr) -> bool:
    to = changed.status
    stays = before.status is to
    return before.version == changed.version and (stays or before.status.may_become(to))


def _matches(dsr: Dsr, query: DsrQuery) -> bool:
    is_of_subject = query.subject is None or query.subject in dsr.subjects
    is_in_group = query.group_hash in {None, dsr.group_hash}
    return is_of_subject and is_in_group and query.status in {None, dsr.status}


def _dsr(item: Item) -> Dsr:
    return dsr_of(decoded(DsrRow, item))


def _visible(item: Item, reach: Reach) -> Dsr | None:
    dsr = _dsr(item)
    limits = ((dsr.organization, reach.organization), (dsr.owner, reach.owner))
    return dsr if all(limit in {None, value} for value, limit in limits) else None


def _why_not(refused: Refused, added: set[str]) -> StoreError:
    claims = [item for item in refused.found if item is not None and item["sk"] == "claim"]
    ids = [str(claim["id"]) for claim in claims]
    others = [one for one in ids if one not in added]
    if not ids:
        return StoreError("state store: this request is there already")
    return open_exists((others or ids)[0])
