"""OpenDSR on the wire: both dialects, what is tolerated, and what errors may say."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import (
    DsrStatus,
    Identity,
    IdentityFormat,
    IdentityType,
    Regulation,
    RequestType,
)
from schemas.opendsr.answers import (
    decode_acceptance,
    decode_discovery,
    decode_report,
    decode_reports,
    encode_acceptance,
    encode_discovery,
    encode_error,
    encode_report,
    encode_reports,
)
from schemas.opendsr.model import (
    Acceptance,
    Dialect,
    Discovery,
    ProcessingStatus,
    StatusReport,
    SubjectRequest,
    SupportedIdentity,
)
from schemas.opendsr.requests import decode_request, encode_request
from schemas.opendsr.wire import Malformed, parse_time

ID = "a7551968-d5d6-44b2-9831-815ac9017798"
NOW = datetime(2026, 10, 2, 15, 0, 0, tzinfo=UTC)
CANARY = "canary-5b1f@mail.example"

TEXTS = st.text(min_size=1, max_size=40)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
IDS = st.uuids(version=4).map(str)
IDENTITIES = st.builds(Identity, st.sampled_from(IdentityType), TEXTS, st.just(IdentityFormat.RAW))
REQUESTS = st.builds(
    SubjectRequest,
    id=IDS,
    regulation=st.sampled_from(Regulation),
    type=st.sampled_from(RequestType),
    submitted_at=TIMES,
    identities=st.lists(IDENTITIES, max_size=5, unique_by=lambda one: one.type).map(tuple),
    callback_urls=st.lists(TEXTS, max_size=3).map(tuple),
    extensions=st.dictionaries(TEXTS, st.dictionaries(TEXTS, st.booleans()), max_size=2),
    api_version=st.none() | TEXTS,
)
REPORTS = st.builds(
    StatusReport,
    request_id=IDS,
    status=st.sampled_from(ProcessingStatus),
    controller_id=st.none() | TEXTS,
    expected_completion_at=st.none() | TIMES,
    results_url=st.none() | TEXTS,
    results_count=st.none() | st.integers(0, 2**53 - 1),
    group_id=st.none() | TEXTS,
    callback_url=st.none() | TEXTS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(CANARY) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([
    "regulation", "subject_request_id", "subject_request_type", "submitted_time",
    "subject_identities", "status_callback_urls", "extensions", "group_id", "controller_id",
    "request_status", "results_count", "results_url", "expected_completion_time", "api_version",
    "supported_identities", "supported_subject_request_types", "processor_certificate",
])  # fmt: skip
DECODERS: list[Callable[[bytes], object]] = [
    decode_request, decode_acceptance, decode_report, decode_reports, decode_discovery,
]  # fmt: skip


def written(**changes: Any) -> dict[str, Any]:
    """A request as the specification writes it; a change to None takes a field away."""
    whole = {
        "regulation": "gdpr",
        "subject_request_id": ID,
        "subject_request_type": "erasure",
        "submitted_time": "2026-10-02T15:00:00Z",
        "subject_identities": [
            {"identity_type": "email", "identity_value": CANARY, "identity_format": "raw"}
        ],
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def decoded(**changes: Any) -> SubjectRequest:
    return decode_request(json.dumps(written(**changes)).encode())


def report(**changes: Any) -> StatusReport:
    content = {"subject_request_id": ID, "request_status": "pending", **changes}
    return decode_report(json.dumps(content).encode())


@given(REQUESTS, st.sampled_from(Dialect))
def test_request_comes_through_in_both_dialects(request: SubjectRequest, dialect: Dialect) -> None:
    assert decode_request(encode_request(request, dialect)) == request


@given(REPORTS)
def test_report_comes_through(one: StatusReport) -> None:
    assert decode_report(encode_report(one)) == one
    assert decode_reports(encode_reports([one, one])) == [one, one]


def test_request_is_written_as_the_specification_says() -> None:
    request = decoded()
    assert json.loads(encode_request(request, Dialect.SPECIFICATION_2)) == {
        **written(), "submitted_time": "2026-10-02T15:00:00.000000Z"
    }  # fmt: skip


def test_request_is_written_as_mparticle_says() -> None:
    body = json.loads(encode_request(replace(decoded(), group_id="g"), Dialect.MPARTICLE_3))
    assert body["subject_identities"] == {"email": {"value": CANARY, "encoding": "raw"}}
    assert body["group_id"] == "g"


def test_identities_are_raw_unless_they_say_otherwise() -> None:
    plain = decoded(subject_identities={"email": {"value": "x"}})
    hashed = decoded(subject_identities={"email": {"value": "x", "encoding": "sha1"}})
    assert plain.identities[0].format is IdentityFormat.RAW
    assert hashed.identities[0].format is IdentityFormat.SHA1


def test_encoded_request_is_written_and_not_read() -> None:
    body = encode_acceptance(Acceptance(ID, "c"), b"the request", NOW)
    assert json.loads(body)["encoded_request"] == "dGhlIHJlcXVlc3Q="
    assert not any("the request" in str(part) for part in vars(decode_acceptance(body)).values())


def test_cancellation_without_expected_completion_is_read() -> None:
    body = json.dumps({
        "controller_id": "c", "subject_request_id": ID, "expected_completion_time": None
    })  # fmt: skip
    assert decode_acceptance(body.encode()) == Acceptance(ID, "c")


def test_discovery_leaves_out_what_is_not_known_here() -> None:
    body = json.dumps({
        "api_version": "2.0",
        "supported_identities": [
            {"identity_type": "email", "identity_format": "raw"},
            {"identity_type": "shoe_size", "identity_format": "raw"},
        ],
        "supported_subject_request_types": ["erasure", "rectification"],
        "processor_certificate": None,
    })  # fmt: skip
    email = SupportedIdentity(IdentityType.EMAIL, IdentityFormat.RAW)
    assert decode_discovery(body.encode()) == Discovery("2.0", (email,), (RequestType.ERASURE,))


def test_discovery_comes_through() -> None:
    email = SupportedIdentity(IdentityType.EMAIL, IdentityFormat.SHA256)
    one = Discovery("2.0", (email,), tuple(RequestType), "https://a.example/cert.pem")
    assert decode_discovery(encode_discovery(one)) == one


def test_report_may_miss_all_but_request_and_status() -> None:
    assert report(controller_id=None, unheard_of=[1]) == StatusReport(ID, ProcessingStatus.PENDING)


def test_capitals_in_an_id_make_no_difference() -> None:
    assert report(subject_request_id=ID.upper()).request_id == ID


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-10-02T15:00:00Z", NOW),
        ("2026-10-02T15:00:00", NOW),
        ("2026-10-02 15:00:00z", NOW),
        ("2026-10-02T17:30:00+02:30", NOW),
        ("2026-10-02T14:59:60Z", NOW),
        ("2026-10-02T15:00:00.1234567Z", NOW.replace(microsecond=123456)),
        ("2026-10-02T15:00:00.1", NOW.replace(microsecond=100000)),
    ],
)
def test_odd_times_are_read(text: str, time: datetime) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    "text",
    ["", "2026-10-02", "2026-13-02T15:00:00Z", "2026-02-30T15:00:00Z", "2026-10-02T15:00:61Z",
     "2026-10-02T15:00:00+99:00", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:60Z", "1" * 5000,
     "٢٠٢٦-10-02T15:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time") as raised:
        parse_time(text)
    assert len(str(raised.value)) < 60


@given(TIMES)
def test_time_comes_through(time: datetime) -> None:
    assert parse_time(time.isoformat()) == time


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"regulation": ...}, "regulation"),
        ({"regulation": CANARY}, "regulation"),
        ({"subject_request_id": str(uuid.uuid1())}, "subject_request_id"),
        ({"subject_request_type": None}, "subject_request_type"),
        ({"submitted_time": CANARY}, "submitted_time"),
        ({"subject_identities": CANARY}, "subject_identities"),
        ({"subject_identities": [CANARY]}, "subject_identities.0"),
        ({"subject_identities": [{"identity_type": CANARY}]}, "subject_identities.0.identity_type"),
        ({"subject_identities": {CANARY: {"value": "x"}}}, "subject_identities.0"),
        ({"subject_identities": {"email": CANARY}}, "subject_identities.email"),
        ({"subject_identities": {"email": {}}}, "subject_identities.email.value"),
        ({"subject_identities": [{}] * 21}, "subject_identities"),
        ({"status_callback_urls": [1]}, "status_callback_urls.0"),
        ({"extensions": {CANARY: 1}}, "extensions.0"),
    ],
)
def test_fault_is_named_by_its_field_and_not_its_value(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Malformed) as raised:
        decoded(**changes)
    assert raised.value.details["field"] == field
    assert CANARY not in f"{raised.value} {raised.value.details}"


@given(st.sampled_from(DECODERS), st.dictionaries(NAMES, JSON, max_size=6) | JSON)
def test_any_json_is_read_or_malformed_and_never_repeated(
    decode: Callable[[bytes], object], content: Any
) -> None:
    told = ""
    try:
        decode(json.dumps(content).encode())
    except Malformed as error:
        told = f"{error} {error.details} {error.__context__ or ''}"
    assert CANARY not in told


@given(st.sampled_from(DECODERS), st.binary(max_size=40))
def test_any_bytes_are_read_or_malformed(decode: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(Malformed):
        decode(body + b"\x00")


def test_deep_nesting_is_malformed() -> None:
    with pytest.raises(Malformed):
        decode_report(b"[" * 100_000)


def test_errors_are_written_as_each_dialect_does() -> None:
    flat = json.loads(encode_error(Dialect.MPARTICLE_3, 400, "badRequest", "why"))
    nested = json.loads(encode_error(Dialect.SPECIFICATION_2, 400, "badRequest", "why"))
    assert flat == {"code": 400, "message": "why"}
    assert nested["error"]["errors"][0]["reason"] == "badRequest"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (ProcessingStatus.PENDING, DsrStatus.SUBMITTED),
        (ProcessingStatus.IN_PROGRESS, DsrStatus.IN_PROGRESS),
        (ProcessingStatus.COMPLETED, DsrStatus.COMPLETED),
        (ProcessingStatus.CANCELLED, DsrStatus.CANCELLED),
    ],
)
def test_pending_there_is_submitted_here(theirs: ProcessingStatus, ours: DsrStatus) -> None:
    assert theirs.as_status is ours
