"""What the OpenAPI document says there is to ask, for tests that go through all of it.

A new operation is covered by itself. If it is about one thing, by its id, ``HELD`` has to know how
such a thing comes to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import Case, GenerationMode, Response

from config.settings import Settings, load_settings
from runners.runs import owner_here
from schemas.access import Principal
from schemas.errors import NotAuthenticated
from schemas.runs import RunRecord, RunStatus
from schemas.webhooks import Webhook
from service.app import create_app
from service.bootstrap import Wiring, wire
from tests.integration.service.enrichment_requests import announcement, completed
from tests.integration.service.principals import OPERATOR, somebody

PRIVACY = somebody("privacy", subject="privacy-1")

DOCUMENT = "/openapi/openapi.json"


@contextmanager
def wired(folder: Path) -> Iterator[Wiring]:
    """Everything in this folder, and no limits; for tests of a whole module."""
    settings = load_settings(
        env="test",
        state={"folder": folder / "state"},
        parameters={"source": "file", "folder": folder / "keys"},
    )
    wiring = wire(without_limits(settings))
    yield wiring
    wiring.closing.set()
    wiring.state.close()


def without_limits(settings: Settings) -> Settings:
    """Settings by which one may ask without end, and submit to an API that nobody calls."""
    limits = settings.service.limits.model_copy(
        update={"address": "none", "principal": "none", "everything": "none", "endpoints": {}}
    )
    api = settings.service.enrichment.model_copy(update={"api": "http://127.0.0.1:9"})
    service = settings.service.model_copy(update={"limits": limits, "enrichment": api})
    return settings.model_copy(update={"service": service})


def application(wiring: Wiring, principal: Principal | None) -> Flask:
    """The application as this principal, or nobody, is given it."""

    def authenticate(_: Any) -> Principal:
        if principal is None:
            raise NotAuthenticated("nobody is known here")
        return principal

    return create_app(replace(wiring, authenticate=authenticate))


@dataclass(frozen=True)
class Operation:
    """One operation, and how to ask for it."""

    found: Any

    @property
    def name(self) -> str:
        return f"{self.found.method.upper()} {self.found.path}"

    @property
    def kind(self) -> str:
        """What its path is about: ``runs``, ``enrichment`` ..."""
        return str(self.found.path).split("/")[2].partition(":")[0]

    @property
    def parameter(self) -> str | None:
        """The name of the id in its path."""
        named = [p.name for p in self.found.path_parameters]
        assert len(named) < 2, f"{self.name}: tests know of one id in a path"
        return named[0] if named else None

    @property
    def is_for_principals(self) -> bool:
        """Whether it is for those who have a token or a key."""
        return {"bearer": []} in self.found.definition.raw.get("security", [])

    def each_case(self, count: int, ask: Callable[[Case], None]) -> None:
        """Do something with so many requests as the document allows them."""

        @given(case=self.found.as_strategy(generation_mode=GenerationMode.POSITIVE))
        @hypothesis_settings(
            max_examples=count, derandomize=True, database=None, deadline=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def each(case: Case) -> None:
            ask(case)

        each()

    def case_that(self, is_wanted: Callable[[Case], bool]) -> Case:
        """A request that does, among those that the document allows."""

        def look(case: Case) -> None:
            if is_wanted(case):
                raise _Found(case)

        try:
            self.each_case(100, look)
        except _Found as found:
            return found.case
        raise AssertionError(f"{self.name}: no request of the document was found that fits")


class _Found(Exception):
    """A case that was looked for."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case


def operations(app: Flask) -> Iterator[Operation]:
    """All operations of the document, under ``/v1``."""
    for result in schemathesis.openapi.from_wsgi(DOCUMENT, app).get_all_operations():
        operation = Operation(result.ok())
        if operation.found.path.startswith("/v1/"):
            yield operation


def ask(app: Flask, case: Case, **path: str) -> Response:
    """What this application answers; ``path`` replaces ids in the address."""
    asked = replace_path(case, path)
    return asked.call(app=app)


def replace_path(case: Case, path: Mapping[str, str]) -> Case:
    case.path_parameters = {**(case.path_parameters or {}), **path}
    return case


def _run(wiring: Wiring) -> str:
    now = datetime.now(UTC)
    record = RunRecord(
        "run-0001", "enrich", RunStatus.QUEUED, owner_here(), now, now,
        organization="org-1", requested_by="user-1",
    )  # fmt: skip
    wiring.state.runs.add(record)
    return record.id


def _upload(wiring: Wiring) -> str:
    asker = application(wiring, OPERATOR).test_client()
    answer = asker.post("/v1/uploads", json=announcement())
    assert answer.json is not None, answer.text
    return str(answer.json["uploadId"])


def _dsr(wiring: Wiring) -> str:
    asker = application(wiring, PRIVACY).test_client()
    answer = asker.post("/v1/dsr", json={"email": "ana@example.com", "type": "gdpr_delete"})
    assert answer.status_code == 202, answer.text
    assert answer.json is not None
    return str(answer.json["id"])


def _webhook(wiring: Wiring) -> str:
    hook = Webhook(
        id="0" * 31 + "1",
        organization="org-1",
        owner="user-1",
        url="https://hooks.example/lethe",
        kinds=("job",),
        created_at=datetime.now(UTC),
        place=wiring.state.outbox.newest(),
        of_owner=None,
    )
    wiring.state.webhooks.add(hook, 10)
    return hook.id


HELD: Mapping[str, Callable[[Wiring], str]] = {
    "dsr": _dsr,
    "enrichment": lambda wiring: completed(wiring, b"{}\n").id,
    "runs": _run,
    "uploads": _upload,
    "webhooks": _webhook,
}
"""How something of ``org-1`` comes to be, by what paths are about; gives its id."""
