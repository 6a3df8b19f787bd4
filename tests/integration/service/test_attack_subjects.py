"""Enumeration of subjects: whoever tries emails and ids learns nothing by answers, or by the work.

What time an answer takes is not measured here. The same statements are asked of the database, in
the same order, whether another organization has what was tried or nobody has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.integration.service.principals import Client, somebody

OWNER = somebody("privacy", subject="privacy-1")
STRANGER = somebody("privacy", subject="privacy-9", organization="org-9")
KNOWN, UNKNOWN = "ana.canary@example.com", "bob.canary@example.com"
NOBODYS = "a7551968-d5d6-44b2-9831-815ac9017798"
SHOW = "query($id: ID!) { dsrRequest(id: $id) { id } }"
LIST = "query($email: String!) { dsrRequestsByEmail(email: $email) { items { id } } }"

Try = Callable[[FlaskClient, str], TestResponse]


def graphql(query: str, name: str) -> Try:
    return lambda asker, tried: asker.post(
        "/graphql", json={"query": query, "variables": {name: tried}}
    )


BY_EMAIL: Mapping[str, Try] = {
    "search": lambda asker, email: asker.post("/v1/dsr:search", json={"email": email}),
    "status": lambda asker, email: asker.post(
        "/v1/dsr:search", json={"email": email, "status": "queued"}
    ),
    "list": lambda asker, email: asker.get("/v1/dsr", query_string={"email": email}),
    "graphql": graphql(LIST, "email"),
}
BY_ID: Mapping[str, Try] = {
    "show": lambda asker, one: asker.get(f"/v1/dsr/{one}"),
    "audit": lambda asker, one: asker.get(f"/v1/dsr/{one}/audit"),
    "cancel": lambda asker, one: asker.delete(f"/v1/dsr/{one}"),
    "extend": lambda asker, one: asker.post(f"/v1/dsr/{one}/extension", json={"reason": "late"}),
    "review": lambda asker, one: asker.post(f"/v1/dsr/{one}/review", json={"decision": "approve"}),
    "several": lambda asker, one: asker.post("/v1/dsr:batchGet", json={"ids": [one]}),
    "graphql": graphql(SHOW, "id"),
}


@pytest.fixture
def theirs(client: Client) -> str:
    """A request of somebody that another organization has."""
    answer = client(OWNER).post("/v1/dsr", json={"type": "gdpr_delete", "email": KNOWN})
    return str(answer.get_json()["id"])


@pytest.fixture
def stranger(client: Client) -> FlaskClient:
    return client(STRANGER)


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """What databases are asked."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield asked
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def told(answer: TestResponse, tried: str) -> tuple[int, str]:
    """The answer, but for what is of this one request and what was tried."""
    body = json.loads(answer.text.replace(tried, "TRIED"))
    for error in [body.get("error", {}), *(each["extensions"] for each in body.get("errors", ()))]:
        for name in ("correlationId", "timestamp"):
            error.pop(name, None)
    return answer.status_code, json.dumps(body)


def compared(
    statements: list[str], asker: FlaskClient, attempt: Try, tries: tuple[str, str]
) -> tuple[list[tuple[int, str]], list[list[str]]]:
    """What was answered to each, and what was asked of the database for it."""
    answers, work = [], []
    for tried in tries:
        statements.clear()
        answers.append(told(attempt(asker, tried), tried))
        work.append([*statements])
    return answers, work


def test_subject_of_others_is_looked_for_as_one_whom_nobody_knows(
    stranger: FlaskClient, theirs: str, statements: list[str]
) -> None:
    for way, attempt in BY_EMAIL.items():
        answers, work = compared(statements, stranger, attempt, (KNOWN, UNKNOWN))
        assert answers[0] == answers[1], way
        assert work[0] == work[1] != [], way
        assert theirs not in answers[0][1], way


def test_request_of_others_is_looked_for_as_one_that_nobody_has(
    stranger: FlaskClient, theirs: str, statements: list[str]
) -> None:
    for way, attempt in BY_ID.items():
        answers, work = compared(statements, stranger, attempt, (theirs, NOBODYS))
        assert answers[0] == answers[1], way
        assert work[0] == work[1] != [], way


def test_subject_of_others_is_submitted_as_one_whom_nobody_knows(
    stranger: FlaskClient, theirs: str, statements: list[str]
) -> None:
    def submit(asker: FlaskClient, email: str) -> TestResponse:
        return asker.post("/v1/dsr", json={"type": "gdpr_delete", "email": email})

    submit(stranger, "cat.canary@example.com")
    answers, work = compared(statements, stranger, submit, (KNOWN, UNKNOWN))
    assert [status for status, _ in answers] == [202, 202]
    assert work[0] == work[1] != []


def test_the_owner_is_told_of_what_the_stranger_is_not(
    client: Client, theirs: str, statements: list[str]
) -> None:
    answers, _ = compared(statements, client(OWNER), BY_EMAIL["search"], (KNOWN, UNKNOWN))
    assert theirs in answers[0][1]
    assert answers[0] != answers[1]
