"""``lethe dsr drain`` and ``lethe dsr retry``, and the drain of the service beside them."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dsr.drain import LEASE
from runners.commands.dsr import app
from schemas.access import Reach
from schemas.errors import UsageError
from stores.state.sql import open_state
from tests.mock_processor import running_processor
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_ENV", "local")
    monkeypatch.setenv("LETHE_STATE__FOLDER", str(tmp_path / "state"))
    monkeypatch.setenv("LETHE_PARAMETERS__FOLDER", str(tmp_path / "keys"))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v2"
    one = {"dialect": "opendsr-2.0", "regions": [{"name": "eu", "url": url}], "attempts": 1}
    monkeypatch.setenv("LETHE_PROCESSORS", json.dumps({"one": one}))
    monkeypatch.setenv("LETHE_DRAIN__MAX_ATTEMPTS", "1")


def lethe(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=given)


def submitted() -> str:
    result = lethe("submit", "gdpr_delete", "--email", "-", "--organization", "org-1",
                   given="ana.canary@example.com\n")  # fmt: skip
    return result.stdout.strip()


def shown(request_id: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(lethe("show", request_id, "--json").stdout)
    return found


def test_drain_without_a_processor_says_what_to_do() -> None:
    result = lethe("drain")
    assert isinstance(result.exception, UsageError)
    assert "processors" in result.exception.message


@pytest.mark.usefixtures("nobody")
def test_request_that_nobody_takes_is_parked_and_may_be_tried_again() -> None:
    one = submitted()
    assert lethe("drain").stdout.strip() == "1 parked"
    assert "processor_unreachable" in str(shown(one)["parkedReason"])
    assert lethe("drain").stdout.strip() == "nothing was due"
    assert lethe("retry", one).exit_code == 0
    assert (shown(one)["parkedReason"], shown(one)["attempts"]) == (None, 0)
    assert lethe("drain").stdout.strip() == "1 parked"


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("command", ["retry", "accept"])
def test_request_that_is_not_parked_is_neither_tried_again_nor_accepted(command: str) -> None:
    refused = lethe(command, submitted())
    assert isinstance(refused.exception, UsageError)
    assert "parked" in refused.exception.message


@pytest.mark.usefixtures("nobody")
def test_drain_leaves_it_to_another_process_that_drains(tmp_path: Path) -> None:
    submitted()
    with closing(open_state(f"sqlite:///{tmp_path / 'state' / 'state.db'}")) as state:
        assert state.leases.acquire(LEASE, "service", 60) is not None
        assert "another process drains" in lethe("drain").stdout


@pytest.mark.parametrize("dialect", ["opendsr-2.0", "mparticle-v3"])
def test_drain_asks_a_processor_that_never_calls_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dialect: str
) -> None:
    monkeypatch.setenv("LETHE_DSR__SILENCE_HOURS", "0.00001")
    with running_processor(step=None, repeats=0) as processor:
        url = processor.url if dialect == "mparticle-v3" else processor.specification_url
        one = {"dialect": dialect, "regions": [{"name": "eu", "url": url}]}
        monkeypatch.setenv("LETHE_PROCESSORS", json.dumps({"one": one}))
        request_id = submitted()
        assert "1 forwarded" in lethe("drain").stdout
        processor.advance()
        assert status_in_the_end(request_id, "in_progress")
        processor.advance()
        assert status_in_the_end(request_id, "completed")
    with closing(open_state(f"sqlite:///{tmp_path / 'state' / 'state.db'}")) as state:
        told = [entry.draft.action for entry in state.audit.of(f"dsr:{request_id}", Reach(None))]
    assert told.count("dsr.told") == 2


def status_in_the_end(request_id: str, status: str) -> bool:
    """Whether draining makes the request that, sooner or later."""
    until = time.monotonic() + PATIENCE
    while shown(request_id)["status"] != status and time.monotonic() < until:
        time.sleep(0.1)
        assert lethe("drain").exit_code == 0
    return bool(shown(request_id)["status"] == status)
