"""What is remembered of requests, in DynamoDB: answers under keys, counts, and machines' keys."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from schemas.access import Reach
from schemas.errors import StoreError
from schemas.requests import (
    Answered,
    ApiKey,
    Claim,
    Claimed,
    Counted,
    InProgress,
    OtherRequest,
    StoredResponse,
    Tally,
)
from stores.state.dynamo.contention import contended, done
from stores.state.dynamo.items import (
    Item,
    Key,
    decoded,
    digits,
    encoded,
    joined,
    key_of,
    micros,
    time_of,
)
from stores.state.dynamo.layout import EXPIRES
from stores.state.dynamo.listing import Listing, due, due_before, listed
from stores.state.dynamo.table import DynamoTable
from stores.state.dynamo.writes import ABSENT, Write, delete, put, update

_RECORD = "record"
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3600
_MINE = "#token = :token AND attribute_not_exists(#response_status)"


class DynamoIdempotency:
    """See ``stores.state.service_port.IdempotencyStore``."""

    def __init__(self, table: DynamoTable, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._clock = clock

    def claim(self, key: str, fingerprint: str, lock_seconds: float, keep_seconds: float) -> Claim:
        def attempt() -> Claim:
            now, before = self._clock(), self._table.get(_answer_key(key))
            known = _known(before, fingerprint, now)
            if known is not None:
                return known
            locked = now + timedelta(seconds=lock_seconds)
            kept = now + timedelta(seconds=keep_seconds)
            item = _claim(key, fingerprint, locked, kept)
            self._table.transact([_instead_of(before, item)])
            return Claimed(item["token"])

        return contended(attempt)

    def complete(self, key: str, token: str, response: StoredResponse) -> bool:
        change = (
            "SET #response_status = :status, #response_body = :body, #response_headers = :headers"
        )
        answered = update(
            _answer_key(key), change, _MINE, token=token, status=response.status,
            body=response.body, headers=json.dumps(dict(response.headers)),
        )  # fmt: skip
        return done(self._table, [answered])

    def release(self, key: str, token: str) -> None:
        done(self._table, [delete(_answer_key(key), _MINE, token=token)])

    def prune(self) -> int:
        now = self._clock()
        past = "#kept_until <= :now"
        found = due_before(self._table, "answers", now + _MICROSECOND)
        return sum(done(self._table, [delete(key, past, now=micros(now))]) for key in found)


def _known(item: Item | None, fingerprint: str, now: datetime) -> Claim | None:
    """What there is to say of a key by itself; None if it can be claimed."""
    if item is None or item["kept_until"] <= micros(now):
        return None
    if item["fingerprint"] != fingerprint:
        return OtherRequest()
    if "response_status" in item:
        return Answered(_response(item))
    return InProgress() if item["locked_until"] > micros(now) else None


def _response(item: Item) -> StoredResponse:
    headers = json.loads(item["response_headers"])
    return StoredResponse(item["response_status"], item["response_body"], headers)


def _claim(key: str, fingerprint: str, locked: datetime, kept: datetime) -> Item:
    pk, sk = _answer_key(key)
    return {
        "pk": pk,
        "sk": sk,
        "fingerprint": fingerprint,
        "token": secrets.token_hex(16),
        "locked_until": micros(locked),
        "kept_until": micros(kept),
        EXPIRES: int(kept.timestamp()) + _HOUR,
        **due("answers", kept, key),
    }


def _instead_of(before: Item | None, item: Item) -> Write:
    """The new claim, if nobody has claimed or answered meanwhile."""
    if before is None:
        return put(item, ABSENT)
    if "response_status" in before:
        return put(item, "#token = :before", before=before["token"])
    unanswered = "#token = :before AND attribute_not_exists(#response_status)"
    return put(item, unanswered, before=before["token"])


def _answer_key(key: str) -> Key:
    return Key(joined("answer", key), _RECORD)


class DynamoRequestCounters:
    """See ``stores.state.service_port.RequestCounters``.

    All names are asked for at once, so that it takes as long as one of them. A count whose answer
    is lost is made again, so it may be one too great, never too small.
    """

    def __init__(self, table: DynamoTable, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._clock = clock
        self._crew = ThreadPoolExecutor(16, thread_name_prefix="counters")

    def count(self, counted: Sequence[Counted]) -> list[Tally]:
        if not counted:
            return []
        now = self._clock()
        before = self._crew.submit(self._previous, counted, now)
        added = [self._crew.submit(self._add, each, each.period(now)) for each in counted]
        previous = before.result()
        return [
            Tally(number.result(), previous.get(_counter(each, each.period(now) - 1), 0))
            for number, each in zip(added, counted, strict=True)
        ]

    def prune(self) -> int:
        found = list(due_before(self._table, "counters", self._clock() + _MICROSECOND))
        self._table.delete_all(found)
        return len(found)

    def close(self) -> None:
        self._crew.shutdown()

    def _add(self, counted: Counted, period: int) -> int:
        looked_at_until = time_of((period + 2) * counted.seconds * 1_000_000)
        expires = int(looked_at_until.timestamp()) + _HOUR
        terms: Item = {**due("counters", looked_at_until, counted.name), EXPIRES: expires}
        change = f"ADD #count :one SET {', '.join(f'#{name} = :{name}' for name in terms)}"
        answer = self._table.add(update(_counter(counted, period), change, one=1, **terms))
        count: int = answer["count"]
        return count

    def _previous(self, counted: Sequence[Counted], now: datetime) -> dict[Key, int]:
        keys = [_counter(each, each.period(now) - 1) for each in counted]
        return {key_of(item): item["count"] for item in self._table.get_all(keys)}


def _counter(counted: Counted, period: int) -> Key:
    return Key(joined("counter", counted.name, str(counted.seconds), digits(period)), _RECORD)


class DynamoApiKeys:
    """See ``stores.state.service_port.ApiKeyStore``."""

    def __init__(self, table: DynamoTable, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._clock = clock

    def add(self, key: ApiKey) -> None:
        pk, sk = _key(key.digest)
        item: Item = {**encoded(key), **listed(_KEYS, key.created_at, key.id), "pk": pk, "sk": sk}
        pk, sk = _claim_of(key.id)
        claim: Item = {"pk": pk, "sk": sk, "digest": key.digest}
        if not done(self._table, [put(item, ABSENT), put(claim, ABSENT)]):
            raise StoreError("state store: this key is there already")

    def find(self, digest: str) -> ApiKey | None:
        item = self._table.get(_key(digest))
        return None if item is None else decoded(ApiKey, item)

    def all(self) -> list[ApiKey]:
        keys = list(Listing(self._table, _KEYS, Reach(None)).keys({}))
        return [decoded(ApiKey, item) for item in self._table.get_all(keys)]

    def revoke(self, key_id: str) -> bool:
        claim = self._table.get(_claim_of(key_id))
        if claim is None:
            return False
        now = micros(self._clock())
        change = "SET #revoked_at = :now"
        return done(self._table, [update(_key(claim["digest"]), change, _LASTS, now=now)])


_KEYS = ("api-keys",)
_LASTS = (
    "attribute_not_exists(#revoked_at) AND "
    "(attribute_not_exists(#expires_at) OR #expires_at > :now)"
)


def _key(digest: str) -> Key:
    return Key(joined("api-key", digest), _RECORD)


def _claim_of(key_id: str) -> Key:
    return Key(joined("api-key-id", key_id), "claim")
