"""Idempotency: what is kept, what is given back, and what counts as the same request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask, Response, request
from hypothesis import given
from hypothesis import strategies as st

from config.service import IdempotencySection
from schemas.access import Principal
from schemas.errors import Conflict, Invalid, StoreUnavailable
from schemas.requests import (
    Answered,
    Claim,
    Claimed,
    InProgress,
    OtherRequest,
    StoredResponse,
)
from service.idempotency import HEADER, REPLAYED, Attempt, Idempotency, canonical
from service.security.pseudonyms import Pseudonyms

APP = Flask("test")
ME = Principal("me", "org-1", frozenset(), frozenset())
KEY = "3f2c6a1e-0001"


class Store:
    """One process's memory; locks run out when told to."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, str, StoredResponse | None]] = {}
        self.is_out = False
        self.claims = 0

    def claim(self, key: str, fingerprint: str, lock_seconds: float, keep_seconds: float) -> Claim:
        if key in self.kept:
            asked, _, response = self.kept[key]
            if asked != fingerprint:
                return OtherRequest()
            return InProgress() if response is None else Answered(response)
        self.claims += 1
        token = str(self.claims)
        self.kept[key] = (fingerprint, token, None)
        return Claimed(token)

    def complete(self, key: str, token: str, response: StoredResponse) -> bool:
        if self.is_out:
            raise StoreUnavailable("out")
        fingerprint, _, _ = self.kept[key]
        self.kept[key] = (fingerprint, token, response)
        return True

    def release(self, key: str, token: str) -> None:
        if self.is_out:
            raise StoreUnavailable("out")
        del self.kept[key]

    def prune(self) -> int:
        return 0

    def idempotency(self) -> Idempotency:
        return Idempotency(self, Pseudonyms(b"k" * 32), IdempotencySection())


def attempt(
    key: str | None = KEY,
    body: Any = None,
    path: str = "/v1/enrichment",
    who: Principal = ME,
    method: str = "POST",
) -> Attempt:
    headers: Mapping[str, str] = {} if key is None else {HEADER: key}
    with APP.test_request_context(path, method=method, json=body, headers=headers):
        return Store().idempotency().attempt(request, who)


class Work:
    """Creates something each time that it is done."""

    def __init__(self, status: int = 202, body: bytes = b'{"requestId": "r-1"}') -> None:
        self.response = (status, body)
        self.done = 0

    def __call__(self) -> Response:
        self.done += 1
        status, body = self.response
        headers = {"Location": "/v1/enrichment/r-1", "X-Correlation-ID": "c-1"}
        return Response(body, status, headers, mimetype="application/json")


def test_repeat_is_answered_alike_without_the_work() -> None:
    store, work = Store(), Work()
    first = store.idempotency().once(attempt(), work)
    repeat = store.idempotency().once(attempt(), work)
    assert (repeat.status_code, repeat.data) == (first.status_code, first.data)
    assert (repeat.headers["Location"], repeat.mimetype) == (
        "/v1/enrichment/r-1",
        "application/json",
    )
    assert (repeat.headers[REPLAYED], REPLAYED in first.headers, work.done) == ("true", False, 1)


def test_headers_of_the_first_request_alone_are_not_repeated() -> None:
    store = Store()
    store.idempotency().once(attempt(), Work())
    assert "X-Correlation-ID" not in store.idempotency().once(attempt(), Work()).headers


def test_request_without_a_key_is_done_each_time() -> None:
    store, work = Store(), Work()
    for _ in range(2):
        store.idempotency().once(attempt(None), work)
    assert (work.done, store.kept) == (2, {})


def test_same_key_with_another_body_is_a_conflict() -> None:
    store = Store()
    store.idempotency().once(attempt(body={"a": 1}), Work())
    with pytest.raises(Conflict) as caught:
        store.idempotency().once(attempt(body={"a": 2}), Work())
    assert caught.value.details == {"reason": "other_request"}


def test_request_still_being_done_is_a_conflict_for_now() -> None:
    store = Store()

    def repeat() -> Response:
        with pytest.raises(Conflict) as caught:
            store.idempotency().once(attempt(), Work())
        assert caught.value.details == {"reason": "in_progress", "retry_after": 2}
        return Response(status=202)

    assert store.idempotency().once(attempt(), repeat).status_code == 202


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_answer_that_may_change_is_not_kept(status: int) -> None:
    store, work = Store(), Work(status)
    for _ in range(2):
        assert store.idempotency().once(attempt(), work).status_code == status
    assert work.done == 2


@pytest.mark.parametrize("status", [200, 201, 202, 404, 409, 422])
def test_answer_that_is_final_is_kept(status: int) -> None:
    store, work = Store(), Work(status)
    for _ in range(2):
        assert store.idempotency().once(attempt(), work).status_code == status
    assert work.done == 1


def test_answer_too_long_to_keep_is_given_each_time() -> None:
    store, work = Store(), Work(body=b"x" * (256 * 1024 + 1))
    for _ in range(2):
        store.idempotency().once(attempt(), work)
    assert work.done == 2


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_work_that_fails_may_be_repeated(kind: type[BaseException]) -> None:
    store, work = Store(), Work()

    def failing() -> Response:
        raise kind

    with pytest.raises(kind):
        store.idempotency().once(attempt(), failing)
    assert store.idempotency().once(attempt(), work).status_code == 202


def test_work_that_is_done_is_answered_though_it_cannot_be_noted() -> None:
    store = Store()
    store.is_out = True
    assert store.idempotency().once(attempt(), Work()).status_code == 202


def test_failure_of_the_work_is_told_though_the_key_cannot_be_released() -> None:
    store = Store()
    store.is_out = True

    def failing() -> Response:
        raise KeyError

    with pytest.raises(KeyError):
        store.idempotency().once(attempt(), failing)


@pytest.mark.parametrize(
    "key", ["", "short", "a" * 129, "with blank", "a@example.com", "key\u00e9-0001", "a/b/c/d/e"]
)
def test_key_of_a_wrong_form_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(Invalid, match="8 to 128") as caught:
        attempt(key)
    assert not key or key not in str(caught.value)


def test_key_may_stand_in_quotes() -> None:
    assert attempt(f'"{KEY}"') == attempt(KEY)


def test_key_is_one_principals_own() -> None:
    others = [
        Principal("you", "org-1", frozenset(), frozenset()),
        Principal("me", "org-2", frozenset(), frozenset()),
    ]
    assert len({attempt(who=who).name for who in (ME, *others)}) == 3


def test_key_says_nothing_at_another_endpoint() -> None:
    assert attempt().name != attempt(path="/v1/uploads").name


def test_query_is_part_of_what_is_asked() -> None:
    assert attempt().fingerprint != attempt(path="/v1/enrichment?force=1").fingerprint


def test_store_learns_neither_keys_nor_bodies() -> None:
    told = repr(attempt(body={"email": "a@example.com"}))
    assert not any(secret in told for secret in (KEY, "example", "org-1"))


def test_repeat_creates_under_the_same_id() -> None:
    assert attempt(body={"a": 1}).created_id() == attempt(body={"a": 1}).created_id()


@pytest.mark.parametrize(
    "other",
    [
        attempt("3f2c6a1e-0002", {"a": 1}),
        attempt(body={"a": 2}),
        attempt(body={"a": 1}, who=Principal("me", "org-2", frozenset(), frozenset())),
        attempt(body={"a": 1}, path="/v1/uploads"),
    ],
)
def test_another_request_creates_under_another_id(other: Attempt) -> None:
    assert other.created_id() != attempt(body={"a": 1}).created_id()


def test_request_without_a_key_creates_under_a_new_id_each_time() -> None:
    mine = attempt(None)
    assert mine.created_id() != mine.created_id()


def test_one_request_can_create_many() -> None:
    assert len({attempt().created_id(index) for index in range(100)}) == 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
def test_spacing_and_order_of_members_do_not_matter(document: dict[str, Any]) -> None:
    turned = dict(reversed(document.items()))
    assert canonical(json.dumps(document, indent=3).encode()) == canonical(
        json.dumps(turned, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )


@given(JSON, JSON)
def test_other_values_are_another_body(one: Any, other: Any) -> None:
    same = canonical(json.dumps(one).encode()) == canonical(json.dumps(other).encode())
    assert same == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


@given(st.binary())
def test_any_bytes_are_a_body(body: bytes) -> None:
    assert canonical(canonical(body)) == canonical(body)


def test_deeply_nested_body_is_compared_as_it_is() -> None:
    body = b"[" * 100_000
    assert canonical(body) == body
