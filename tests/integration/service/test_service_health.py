"""The service says whether it lives, and whether it can work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import StoreUnavailable
from service.app import create_app
from service.bootstrap import Wiring
from stores.objects import open_store
from tests.integration.service.principals import Client


def statuses(wiring: Wiring) -> tuple[int, str, dict[str, str]]:
    answer = create_app(wiring).test_client().get("/readyz")
    body: Any = answer.json
    checks = {check["name"]: check["status"] for check in body["checks"]}
    return answer.status_code, body["status"], checks


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


def test_living_process_says_so_to_anybody(client: Client) -> None:
    answer = client(None).get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_service_with_database_and_files_is_ready(wiring: Wiring) -> None:
    assert statuses(wiring) == (200, "ok", {"database": "ok", "files": "ok", "parameters": "ok"})


def test_service_without_its_parameters_is_degraded_and_goes_on(
    wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = raising(StoreUnavailable("ssm does not answer"))
    monkeypatch.setattr(wiring.parameters, "get", down)
    status, said, checks = statuses(wiring)
    assert (status, said, checks["parameters"]) == (200, "degraded", "failed")


def test_service_without_its_database_is_not(
    wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = raising(StoreUnavailable("db.internal does not answer"))
    monkeypatch.setattr(type(wiring.state.leases), "current", down)
    status, said, checks = statuses(wiring)
    assert (status, said, checks["database"], checks["files"]) == (
        503,
        "unavailable",
        "failed",
        "ok",
    )


def test_service_without_its_files_is_not(wiring: Wiring) -> None:
    (wiring.settings.state.folder / "taken").write_text("no folder")
    files = open_store(str(wiring.settings.state.folder / "taken" / "files"))
    status, _, checks = statuses(replace(wiring, files=files))
    assert (status, checks["files"]) == (503, "failed")


def test_service_that_is_to_end_is_not(wiring: Wiring) -> None:
    wiring.closing.set()
    assert statuses(wiring)[:2] == (503, "closing")
