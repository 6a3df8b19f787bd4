"""Data subject requests on a real service: told of while they change, and seen in no log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.websocket_clients import talking
from tests.service_process import Answer, Service, running_service

EMAIL = "ana.canary@example.com"
ENV = {"LETHE_ENV": "test", "LETHE_PARAMETERS__SOURCE": "file"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    env = {**ENV, "LETHE_PARAMETERS__FOLDER": str(folder / "keys")}
    with running_service(folder, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    return service.token("privacy")


def submitted(service: Service, token: str, kind: str) -> Answer:
    return service.post("/v1/dsr", {"type": kind, "email": EMAIL}, token=token)


def test_those_who_watch_are_told_of_each_change(service: Service, token: str) -> None:
    with talking(service, token) as talker:
        talker.subscribe("dsrs")
        request_id = submitted(service, token, "gdpr_delete").json["id"]
        told = talker.hear()["data"]
        service.ask("DELETE", f"/v1/dsr/{request_id}", token=token)
        ended = talker.hear()["data"]
    assert (told["resource"], told["state"]["status"]) == (f"dsr:{request_id}", "queued")
    assert (ended["version"], ended["state"]["status"]) == (2, "cancelled")


def test_subject_is_in_no_log_and_no_file(service: Service, token: str, folder: Path) -> None:
    submitted(service, token, "export")
    service.get(f"/v1/dsr?email={EMAIL}", token=token)
    service.post("/v1/dsr", {"type": "export", "email": "canary"}, token=token)
    service.post("/v1/dsr:search", {"email": EMAIL}, token=token)
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert any(b"dsr.submitted" in content for content in contents)
    assert not any(b"canary" in content for content in contents)
    assert "canary" not in service.logged()
