"""How far the parts of jobs are, in DynamoDB: an item a part, beside its job."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.events import Topic
from schemas.jobs import PartProgress
from stores.state.dynamo.contention import contended
from stores.state.dynamo.items import Item, Key, Value, digits, joined, key_of
from stores.state.dynamo.outbox import events_key
from stores.state.dynamo.table import DynamoTable
from stores.state.dynamo.writes import ABSENT, Write, put

_FIGURES = ("processed_batches", "failed_contacts")
_UNCHANGED = " AND ".join(f"#{figure} = :{figure}" for figure in _FIGURES)


class JobParts:
    """Of what is told of a part the greatest of each figure counts."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def report(self, job_id: str, progress: PartProgress) -> None:
        contended(lambda: self._attempt(_key(job_id, progress.part), progress))

    def sums(self, job_id: str) -> tuple[int, int]:
        """Batches that were processed, and contacts that failed, of all parts."""
        processed = failed = 0
        for item in self._all(job_id):
            processed += item["processed_batches"]
            failed += item["failed_contacts"]
        return processed, failed

    def forget(self, job_id: str) -> None:
        self._table.delete_all(map(key_of, self._all(job_id)))

    def _attempt(self, key: Key, progress: PartProgress) -> None:
        before = self._table.get(key)
        told = {figure: getattr(progress, figure) for figure in _FIGURES}
        known = {figure: before[figure] for figure in _FIGURES} if before else {}
        greatest = {figure: max(told[figure], known.get(figure, 0)) for figure in _FIGURES}
        if greatest != known:
            self._table.transact([_part(key, greatest, known)])

    def _all(self, job_id: str) -> Iterator[Item]:
        values: dict[str, Value] = {"pk": _key(job_id, 0).pk, "parts": joined("part", "")}
        return self._table.query("#pk = :pk AND begins_with(#sk, :parts)", values=values)


def _part(key: Key, figures: dict[str, int], known: dict[str, int]) -> Write:
    item: Item = {"pk": key.pk, "sk": key.sk, **figures}
    return put(item, _UNCHANGED, **known) if known else put(item, ABSENT)


def _key(job_id: str, part: int) -> Key:
    return Key(events_key(Topic("job", job_id)), joined("part", digits(part)))
