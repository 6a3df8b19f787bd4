"""What was learned: who is unlike past requests, by what, and what is refused as a model."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import structlog

from config.dsr import DsrSection, RiskSection
from dsr.risk import Signals, assess
from dsr.risk_features import Asked, features_of
from dsr.risk_model import open_model
from dsr.submit import Order, Submitter, submit
from schemas.dsr import DsrStatus, Identity, IdentityFormat, IdentityType, Regulation, RequestType
from schemas.errors import UsageError
from schemas.risk_model import (
    FEATURES,
    LARGEST,
    RiskModel,
    decode_model,
    digest_of,
    encode_model,
    row_of,
)
from stores.objects import S3Settings
from tests.dsr_memory import Office
from tests.dsr_requests import EMAIL
from tests.risk_models import USUAL, a_model

NIGHT = {**USUAL, "hour": 3.0, "source_per_day": 400.0}
WHERE = "models/risk.json"
S3 = S3Settings()


def kept(folder: Path, model: RiskModel) -> str:
    path = folder / "risk.json"
    path.write_bytes(encode_model(model))
    return str(path)


def test_usual_request_is_found_usual() -> None:
    assert not a_model().judge(USUAL).is_unusual


def test_unusual_request_is_found_with_the_features_that_make_it_so() -> None:
    judged = a_model().judge(NIGHT)
    assert judged.is_unusual
    assert {cause.feature for cause in judged.causes} == {"hour", "source_per_day"}


def test_feature_is_named_though_another_one_would_do_alone() -> None:
    judged = a_model().judge({**NIGHT, "submitter_per_day": 4000.0})
    assert {cause.feature for cause in judged.causes} >= {"source_per_day", "submitter_per_day"}


@pytest.mark.parametrize("name", ["disposable_domain", "identity_mismatch", "hashed_identities"])
def test_what_no_past_request_had_is_unusual(name: str) -> None:
    judged = a_model().judge({**USUAL, name: 1.0, "extensions": 1.0})
    assert judged.is_unusual
    assert {cause.feature for cause in judged.causes} == {name, "extensions"}


def test_share_that_was_asked_for_is_unusual() -> None:
    from tests.risk_models import usual_features

    found = sum(a_model().judge(each).is_unusual for each in usual_features(1000))
    assert 5 <= found <= 10


def test_unusual_request_is_held_and_says_why() -> None:
    risk = assess(Signals(), RiskSection(), a_model().judge(NIGHT))
    assert risk.score >= RiskSection().review_at
    [reason] = risk.reasons
    assert reason.startswith("unusual: ")
    assert "source_per_day 400 (usually 1 to 9)" in reason


def test_request_is_held_by_what_was_learned_and_never_refused() -> None:
    office = Office()
    office.clock.now = datetime(2026, 11, 21, 3, tzinfo=UTC)  # A Saturday night.
    desk = replace(office.desk(), model=a_model())
    identities = [Identity(kind, "f" * 32, IdentityFormat.MD5) for kind in [*IdentityType][1:9]]
    dsr = submit(desk, Order("export", identities), Submitter("pia", "org-1", None), "id-1")
    assert dsr.status is DsrStatus.HELD
    assert dsr.risk.reasons[0].startswith("unusual: ")


def test_features_are_kept_with_every_request() -> None:
    desk = Office().desk(DsrSection(timezone="Asia/Tokyo"))
    dsr = submit(desk, Order("gdpr_delete", [EMAIL]), Submitter("pia", "org-1", None), "id-1")
    assert row_of(dsr.risk.features) is not None
    assert dsr.risk.features["hour"] == 18  # Nine in the morning, UTC.


def test_every_feature_is_taken_and_no_other() -> None:
    asked = Asked([EMAIL], Regulation.GDPR, RequestType.ERASURE, {}, datetime(2026, 11, 21))
    assert [*features_of(Signals(), asked)] == [*FEATURES]


def test_request_without_all_features_has_no_row() -> None:
    assert row_of(dict.fromkeys(FEATURES[1:], 1.0)) is None


def test_model_is_the_same_when_it_was_kept() -> None:
    data = encode_model(a_model())
    assert decode_model(data, WHERE).judge(NIGHT) == a_model().judge(NIGHT)
    assert len(digest_of(data)) == 64


@pytest.mark.parametrize("data", [b"", b"\x80\x04pickle", b"{}", b'{"sha256": "a", "model": {}}'])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=WHERE):
        decode_model(data, WHERE)


def test_model_whose_digest_is_another_is_refused() -> None:
    damaged = encode_model(a_model()).replace(b'"requests":1000', b'"requests":1001')
    with pytest.raises(UsageError, match="digest"):
        decode_model(damaged, WHERE)


def test_model_whose_trees_lead_nowhere_is_refused() -> None:
    first, *others = a_model().trees
    broken = msgspec.structs.replace(first, left=first.right, right=[9999] * len(first.right))
    model = msgspec.structs.replace(a_model(), trees=(broken, *others))
    with pytest.raises(UsageError, match="node 0"):
        decode_model(encode_model(model), WHERE)


def test_model_of_other_features_is_refused_by_name(tmp_path: Path) -> None:
    named = ("moon_phase", *FEATURES[1:])
    address = kept(tmp_path, msgspec.structs.replace(a_model(), features=named))
    with pytest.raises(UsageError, match="moon_phase, subject_per_day"):
        open_model(address, S3)


def test_model_that_is_not_there_is_told_once_and_rules_remain(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        assert open_model(str(tmp_path / "none.json"), S3) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_no_model_is_nothing_to_tell() -> None:
    with structlog.testing.capture_logs() as logs:
        assert open_model(None, S3) is None
    assert not logs


def test_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "risk.json"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(UsageError, match="more than"):
        open_model(str(path), S3)


def test_model_tells_where_it_comes_from(tmp_path: Path) -> None:
    model = open_model(kept(tmp_path, a_model()), S3)
    assert model is not None
    assert {*model.learned_with} == {"scikit-learn", "numpy"}
    assert json.loads(encode_model(model))["model"]["features"] == [*FEATURES]
