"""Enrich: a batch of rows to its results, whatever the API does to it.

A batch that fails is halved again and again until the contact that breaks it stands alone. What an
answer leaves out is asked for again in smaller batches. Every step asks for fewer contacts than the
one before, so it ends: after at most about twice as many questions as there are contacts.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from schemas.contacts import Reason, Result, Row, Status
from stores.enrichment.errors import BatchNotEnriched

Ask = Callable[[Sequence[msgspec.Raw]], Sequence[dict[str, Any]]]
"""Asks the API for contacts; raises ``BatchNotEnriched``."""

Answer = dict[str, Any] | Reason
"""What the API says of a contact, or why it says nothing."""


def enrich_rows(rows: Sequence[Row], ask: Ask) -> list[Result]:
    """A result for each row, in their order. What ``ask`` raises beyond its own goes on up."""
    sound = [row for row in rows if row.reason is None]
    answers = iter(_answers(sound, ask) if sound else [])
    return [
        _result(row, next(answers)) if row.reason is None else _failed(row, row.reason)
        for row in rows
    ]


def wire_of(row: Row) -> msgspec.Raw:
    """A sound row as the API takes it."""
    found = row.contact if row.sent is None else row.sent
    assert found is not None
    return found


def _answers(rows: Sequence[Row], ask: Ask) -> list[Answer]:
    """An answer for each row, in their order."""
    try:
        results = ask([wire_of(row) for row in rows])
    except BatchNotEnriched as error:
        return [error.reason] if len(rows) == 1 else _by_halves(rows, ask)
    found = _matched(rows, results)
    missing = [place for place, answer in enumerate(found) if answer is None]
    if missing and len(rows) > 1:
        again = iter(_by_halves([rows[place] for place in missing], ask))
        found = [next(again) if answer is None else answer for answer in found]
    return [Reason.NO_RESULT if answer is None else answer for answer in found]


def _by_halves(rows: Sequence[Row], ask: Ask) -> list[Answer]:
    if len(rows) == 1:
        return _answers(rows, ask)
    middle = len(rows) // 2
    return _answers(rows[:middle], ask) + _answers(rows[middle:], ask)


def _matched(rows: Sequence[Row], results: Sequence[dict[str, Any]]) -> list[Answer | None]:
    """The results by the rows' ids; if several rows share one, in the order of the results."""
    if [result.get("id") for result in results] == [row.id for row in rows]:
        return list(results)  # as almost always
    by_id: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
    for result in results:
        by_id[str(result.get("id"))].append(result)
    return [by_id[str(row.id)].popleft() if by_id[str(row.id)] else None for row in rows]


def _result(row: Row, answer: Answer) -> Result:
    if isinstance(answer, Reason):
        return _failed(row, answer)
    answer.pop("id", None)
    if answer.pop("error", None) is not None:
        return _failed(row, Reason.REJECTED)
    return Result(row.line, row.id, Status.ENRICHED, None, None, row.contact, answer)


def _failed(row: Row, reason: Reason) -> Result:
    return Result(row.line, row.id, Status.FAILED, reason, row.field, row.contact, None)
