"""Leases in DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from schemas.schedule import Lease
from stores.state.dynamo.contention import done
from stores.state.dynamo.items import Item, Key, decoded, encoded, joined, micros
from stores.state.dynamo.table import DynamoTable
from stores.state.dynamo.writes import ABSENT, Write, check, put, update
from stores.state.port import LeaseLost

_HELD = "#holder = :holder AND #token = :token"
_RUNS = f"{_HELD} AND #expires_at > :now"


class DynamoLeases:
    """See ``stores.state.port.LeaseStore``."""

    def __init__(self, table: DynamoTable, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._clock = clock

    def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        before = self.current(name)
        if before is not None and before.expires_at > self._clock():
            return None
        token = 1 if before is None else before.token + 1
        lease = Lease(name, holder, token, self._until(seconds))
        return lease if done(self._table, [_taken(lease, before)]) else None

    def renew(self, lease: Lease, seconds: float) -> Lease:
        renewed = replace(lease, expires_at=self._until(seconds))
        if not done(self._table, [_prolonged(renewed, self._clock())]):
            raise lost(lease)
        return renewed

    def release(self, lease: Lease) -> None:
        ended = "SET #expires_at = :now"
        now = micros(self._clock())
        done(self._table, [update(_key(lease.name), ended, _HELD, now=now, **_by(lease))])

    def current(self, name: str) -> Lease | None:
        item = self._table.get(_key(name))
        return None if item is None else decoded(Lease, item)

    def _until(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds)


def check_lease(lease: Lease, now: datetime) -> Write:
    """The part of a transaction that fails if the lease is lost."""
    return check(_key(lease.name), _RUNS, now=micros(now), **_by(lease))


def lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the lease {lease.name!r} has expired, or is another's by now")


def _taken(lease: Lease, before: Lease | None) -> Write:
    """Only if it is still as it was when it was found free; a late renewal keeps it."""
    key = _key(lease.name)
    item: Item = {**encoded(lease), "pk": key.pk, "sk": key.sk}
    if before is None:
        return put(item, ABSENT)
    unchanged = "#token = :token AND #expires_at = :expires_at"
    return put(item, unchanged, token=before.token, expires_at=micros(before.expires_at))


def _prolonged(renewed: Lease, now: datetime) -> Write:
    until = micros(renewed.expires_at)
    change = "SET #expires_at = :until"
    return update(_key(renewed.name), change, _RUNS, until=until, now=micros(now), **_by(renewed))


def _by(lease: Lease) -> dict[str, str | int]:
    return {"holder": lease.holder, "token": lease.token}


def _key(name: str) -> Key:
    return Key(joined("lease", name), "record")
