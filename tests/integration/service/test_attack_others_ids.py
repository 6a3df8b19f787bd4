"""Another organization's ids, at every operation of the document: nobody learns that they exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from schemathesis import Case

from config.settings import Settings
from service.bootstrap import Wiring
from tests.integration.service.documented import (
    HELD,
    Operation,
    application,
    ask,
    operations,
    without_limits,
)
from tests.integration.service.principals import somebody

EVERYTHING_ELSEWHERE = somebody(
    "operator", "privacy", "submitter", subject="user-9", organization="org-9"
)
UNKNOWN = "0" * 8


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return without_limits(settings)


@pytest.fixture
def app(wiring: Wiring) -> Flask:
    return application(wiring, EVERYTHING_ELSEWHERE)


@pytest.fixture
def about_one_thing(app: Flask) -> list[Operation]:
    return [operation for operation in operations(app) if operation.parameter]


@pytest.fixture
def theirs(wiring: Wiring, about_one_thing: list[Operation]) -> dict[str, str]:
    """An id of org-1 of each kind."""
    kinds = {each.kind for each in about_one_thing}
    assert kinds <= HELD.keys(), "tests.integration.service.documented has to know how to make one"
    return {kind: HELD[kind](wiring) for kind in kinds}


class Statements:
    """Counts what databases are asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


@pytest.fixture
def statements() -> Iterator[Statements]:
    counting = Statements()
    sa.event.listen(sa.Engine, "before_cursor_execute", counting)
    yield counting
    sa.event.remove(sa.Engine, "before_cursor_execute", counting)


def unknown_like(name: str) -> str:
    """An id of the same form, of nothing."""
    return re.sub("[0-9a-f]{8}$", UNKNOWN, name) if len(name) > 12 else "no-" + name[3:]


def test_ids_of_others_are_answered_as_those_of_nothing(
    app: Flask, about_one_thing: list[Operation], theirs: dict[str, str]
) -> None:
    for operation in about_one_thing:
        statuses = set()

        def look(case: Case, operation: Operation = operation, seen: set[int] = statuses) -> None:
            name = theirs[operation.kind]
            other, nothing = (told(app, operation, case, i) for i in (name, unknown_like(name)))
            assert other == nothing, operation.name
            seen.add(other[0])

        operation.each_case(4, look)
        assert statuses & ({404} if operation.is_for_principals else {401, 403}), operation.name


def told(app: Flask, operation: Operation, case: Case, name: str) -> tuple[int, Any]:
    """The answer, but for what is of this one request."""
    answer = ask(app, case, **{str(operation.parameter): name})
    error = json.loads(answer.content)["error"]
    del error["correlationId"], error["timestamp"]
    return answer.status_code, json.loads(json.dumps(error).replace(name, "ID"))


def test_ids_of_others_cost_the_work_of_those_of_nothing(
    app: Flask,
    about_one_thing: list[Operation],
    theirs: dict[str, str],
    statements: Statements,
) -> None:
    for operation in about_one_thing:
        name = theirs[operation.kind]
        case = operation.case_that(lambda _: True)
        counts = []
        for each in (name, unknown_like(name)):
            statements.count = 0
            told(app, operation, case, each)
            counts.append(statements.count)
        assert counts[0] == counts[1], operation.name


def test_ids_of_others_are_unharmed(
    app: Flask, wiring: Wiring, about_one_thing: list[Operation], theirs: dict[str, str]
) -> None:
    before = everything_of(wiring)
    for operation in about_one_thing:
        case = operation.case_that(lambda _: True)
        ask(app, case, **{str(operation.parameter): theirs[operation.kind]})
    assert everything_of(wiring) == before


def everything_of(wiring: Wiring) -> Any:
    """The rows of whatever org-1 has."""
    engine = sa.create_engine(f"sqlite:///{wiring.settings.state.folder / 'state.db'}")
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(sa.select(table)).all()))
            for name, table in tables.tables.items()
            if "organization" in table.columns
        }
