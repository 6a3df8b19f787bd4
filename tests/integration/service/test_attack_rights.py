"""Every role at every operation of the document: in, or 403, as ``schemas.access`` has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from schemathesis import Case, Response

from schemas.access import ROLES, Action, Resource
from service.bootstrap import Wiring
from tests.integration.service.documented import (
    Operation,
    application,
    ask,
    operations,
    wired,
)
from tests.integration.service.principals import somebody

READS = (":search", ":batchGet")
"""Ends of addresses that are asked by POST, and change nothing."""

RESOURCES = {
    "enrichment": Resource.ENRICHMENT,
    "uploads": Resource.UPLOAD,
    "runs": Resource.RUN,
    "dsr": Resource.DSR,
    "webhooks": Resource.WEBHOOK,
}
"""What is behind those paths that are named after a resource."""


@dataclass(frozen=True)
class Asked:
    """A request that is well formed, and the right that is asked for it first."""

    operation: Operation
    case: Case
    right: str


@pytest.fixture(scope="module")
def wiring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiring]:
    with wired(tmp_path_factory.mktemp("rights")) as wiring:
        yield wiring


@pytest.fixture(scope="module")
def asked(wiring: Wiring) -> list[Asked]:
    """For each operation, a request that only who has no right at all is refused."""
    powerless, found = application(wiring, somebody()), []
    for operation in operations(powerless):
        if operation.is_for_principals:
            case = operation.case_that(lambda case: ask(powerless, case).status_code == 403)
            found.append(Asked(operation, case, right_of(ask(powerless, case))))
    return found


def right_of(refusal: Response) -> str:
    return str(refusal.json()["error"]["details"]["right"])


def test_each_role_may_what_its_rights_say(wiring: Wiring, asked: list[Asked]) -> None:
    for role, rights in ROLES.items():
        app = application(wiring, somebody(role))
        held = {f"{right.resource}:{right.action}" for right in rights}
        for each in asked:
            answer = ask(app, each.case)
            if answer.status_code == 403:
                assert right_of(answer) not in held, f"{role} at {each.operation.name}"
            else:
                assert each.right in held, f"{role} at {each.operation.name}"


def test_operations_ask_for_the_right_to_what_they_do(asked: list[Asked]) -> None:
    for each in asked:
        method, path = each.operation.name.split(" ")
        reads = method == "GET" or path.endswith(READS)
        assert each.right.endswith(f":{Action.READ}") == reads, each.operation.name


def test_operations_ask_for_the_right_to_what_they_are_about(asked: list[Asked]) -> None:
    for each in asked:
        about = RESOURCES.get(each.operation.kind)
        resource = each.right.partition(":")[0]
        assert about in {None, resource}, each.operation.name
