"""``lethe dsr learn-risk``: past requests of a real store become a model that holds new ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from runners.commands.dsr import app
from runners.commands.runs import opened_state
from schemas.audit import AuditDraft
from schemas.dsr import Dsr, Risk
from schemas.errors import UsageError
from tests.dsr_requests import a_request
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url
from tests.risk_models import usual_features

ORG = ("--organization", "org-1")
MANY = [f"--identity={kind}=x1" for kind in ("android_id", "ios_vendor_id", "roku_publisher_id")]

__all__ = ["moto_url"]


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LETHE_ENV", "local")
    monkeypatch.setenv("LETHE_STATE__FOLDER", str(tmp_path / "state"))
    monkeypatch.setenv("LETHE_PARAMETERS__FOLDER", str(tmp_path / "keys"))
    monkeypatch.setenv("LETHE_DSR__RISK__MODEL", str(tmp_path / "models" / "risk.json"))
    return tmp_path / "models" / "risk.json"


def lethe(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refused(*arguments: str) -> str:
    result = lethe(*arguments)
    assert isinstance(result.exception, UsageError), result.output
    return result.exception.message


def keep(requests: Iterable[Dsr]) -> None:
    made = [*requests]
    drafts = [AuditDraft("test", "org-1", "dsr.submitted", f"dsr:{dsr.id}", {}) for dsr in made]
    with opened_state() as state:
        state.dsr.add(made, drafts)


def past(count: int) -> Iterable[Dsr]:
    """Requests of the last months, each of a subject of its own."""
    for place, features in enumerate(usual_features(count)):
        received = datetime.now(UTC) - timedelta(hours=3 * place + 1)
        risk = Risk(0.0, features=features)
        yield a_request(received_at=received, subjects=(f"{place:064}",), risk=risk)


def test_unusual_request_is_held_by_what_was_learned(model: Path) -> None:
    keep([*past(400), a_request(received_at=datetime.now(UTC) - timedelta(days=2))])
    result = lethe("learn-risk", "--days", "90", "--share", "0.01")
    assert result.exit_code == 0, result.exception
    assert f"learned from 400 of 401 requests: {model}" in result.output
    held = json.loads(lethe("submit", "access", *MANY, *ORG, "--json").stdout)
    assert held["status"] == "held"
    assert held["risk"]["reasons"][0].startswith("unusual: ")
    assert "features" not in held["risk"]


def test_model_is_kept_in_s3_as_well(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bucket(moto_url, "acme-risk")
    settings = {
        "LETHE_S3__ENDPOINT_URL": moto_url,
        "LETHE_S3__REGION": REGION,
        "LETHE_S3__ACCESS_KEY": ACCESS_KEY,
        "LETHE_S3__SECRET_KEY": SECRET_KEY,
        "LETHE_DSR__RISK__MODEL": "s3://acme-risk/models/risk.json",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    usual = ("submit", "access", "--identity=android_id=x0", *ORG, "--json")
    assert json.loads(lethe(*usual).stdout)["status"] == "queued"
    keep(past(300))
    assert lethe("learn-risk", "--share", "0.01").exit_code == 0
    assert json.loads(lethe(*usual[:2], *MANY, *ORG, "--json").stdout)["status"] == "held"


def test_model_is_written_beside_its_file_and_not_in_the_root_of_the_file_system(
    model: Path,
) -> None:
    keep(past(300))
    assert lethe("learn-risk").exit_code == 0
    assert (model.parent / "_lethe").is_dir()


@pytest.mark.parametrize("count", [0, 20])
def test_too_few_requests_leave_no_model(model: Path, count: int) -> None:
    keep(past(count))
    assert f"there are {count} past requests" in refused("learn-risk")
    assert not model.exists()


def test_model_that_is_not_there_yet_keeps_nobody_from_submitting() -> None:
    result = lethe("submit", "access", "--identity=android_id=x1", *ORG, "--json")
    assert json.loads(result.stdout)["status"] == "queued"


def test_damaged_model_is_an_error_and_names_the_file(model: Path) -> None:
    model.parent.mkdir()
    model.write_text("{}")
    assert str(model) in refused("submit", "access", "--identity=android_id=x1", *ORG)


def test_place_for_the_model_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LETHE_DSR__RISK__MODEL")
    assert "--out" in refused("learn-risk")
