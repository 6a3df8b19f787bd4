"""The service judges by what was learned, whichever way a request comes, and refuses bad models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.settings import Settings, load_settings
from schemas.errors import UsageError
from schemas.risk_model import FEATURES, encode_model
from service.bootstrap import wire
from tests.integration.service.principals import Client, somebody
from tests.risk_models import a_model

PRIVACY = somebody("privacy", subject="privacy-1")
UNUSUAL = {
    "type": "export",
    "identities": [
        {"type": kind, "value": "a" * 64, "format": "sha256"}
        for kind in ("android_id", "ios_vendor_id", "roku_publisher_id")
    ],
}
SUBMIT = "mutation($input: SubmitDSRInput!) { submitDSR(input: $input) { status } }"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "risk.json"
    path.write_bytes(encode_model(a_model()))
    return path


@pytest.fixture
def settings(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LETHE_ENV", "test")
    return load_settings(
        state={"folder": tmp_path / "state"},
        parameters={"source": "file", "folder": tmp_path / "keys"},
        dsr={"risk": {"model": str(model)}},
    )


def told(answer: Any) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json


def test_unusual_request_is_held_and_says_why(client: Client) -> None:
    body = told(client(PRIVACY).post("/v1/dsr", json=UNUSUAL))
    assert body["status"] == "held"
    assert body["risk"]["reasons"][0].startswith("unusual: unlike past requests, by ")
    assert [*body["risk"]] == ["score", "reasons"]


def test_request_by_graphql_is_judged_alike(client: Client) -> None:
    asked = {"query": SUBMIT, "variables": {"input": UNUSUAL}}
    body = told(client(PRIVACY).post("/graphql", json=asked))
    assert body["data"] == {"submitDSR": {"status": "held"}}, body


def test_held_request_goes_on_when_it_is_approved(client: Client) -> None:
    one = told(client(PRIVACY).post("/v1/dsr", json=UNUSUAL))["id"]
    reviewer = client(somebody("privacy", subject="privacy-2"))
    verdict = {"decision": "approve", "reason": "they called"}
    assert told(reviewer.post(f"/v1/dsr/{one}/review", json=verdict))["status"] == "queued"


def test_damaged_model_keeps_the_service_from_starting(settings: Settings, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-9])
    with pytest.raises(UsageError, match=str(model)):
        wire(settings)


def test_model_of_other_features_keeps_the_service_from_starting(
    settings: Settings, model: Path
) -> None:
    other = msgspec.structs.replace(a_model(), features=(*FEATURES[:-1], "moon_phase"))
    model.write_bytes(encode_model(other))
    with pytest.raises(UsageError, match=r"is_ccpa, moon_phase.*learn-risk"):
        wire(settings)


def test_service_starts_without_the_model_that_is_not_learned_yet(
    settings: Settings, model: Path
) -> None:
    model.unlink()
    wiring = wire(settings)
    wiring.state.close()
    assert wiring.model is None
