"""What need not be sent, by settings and dialect."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from config.dsr import ProcessorSection, RegionSection
from schemas.dsr import Identity, IdentityFormat, IdentityType, Regulation, RequestType
from schemas.opendsr.model import MPARTICLE_DOMAIN, Dialect, SubjectRequest
from stores.processors.errors import Unsupported
from stores.processors.support import Supported

ID = "a7551968-d5d6-44b2-9831-815ac9017798"
EMAIL = Identity(IdentityType.EMAIL, "canary@mail.example")
HASHED = Identity(IdentityType.EMAIL, "0" * 64, IdentityFormat.SHA256)
CUSTOMER = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "canary-42")
MPID: dict[str, Any] = {MPARTICLE_DOMAIN: {"identities": {"mpid": {"value": "canary"}}}}
OTHER: dict[str, Any] = {MPARTICLE_DOMAIN: {"identities": {"other2": {"value": "canary"}}}}
HERE = RegionSection(name="here", url="https://processor.example/v3")


def check(dialect: Dialect, *identities: Identity, extensions: Any = None, **limits: Any) -> None:
    given = {"identities": frozenset(IdentityType), "types": frozenset(RequestType), **limits}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    Supported("mp", dialect, **given).check(
        SubjectRequest(
            ID, Regulation.GDPR, RequestType.ERASURE, now, identities, (), extensions or {}
        )
    )


@pytest.mark.parametrize("identities", [(EMAIL,), (EMAIL, CUSTOMER)])
@pytest.mark.parametrize("dialect", [*Dialect])
def test_plain_identities_are_sent(dialect: Dialect, identities: tuple[Identity, ...]) -> None:
    check(dialect, *identities)


@pytest.mark.parametrize("extensions", [MPID, OTHER])
def test_mparticle_takes_identities_of_its_own_alone(extensions: dict[str, Any]) -> None:
    check(Dialect.MPARTICLE_3, extensions=extensions)


def test_specification_takes_hashed_identities() -> None:
    check(Dialect.SPECIFICATION_2, EMAIL, HASHED)


@pytest.mark.parametrize(
    ("identities", "extensions", "fault"),
    [
        ((EMAIL,), MPID, "mpid"),
        ((HASHED,), None, "not hashed"),
        ((EMAIL, EMAIL), None, "one identity of a type"),
        ((), None, "must have an identity"),
        ((), {MPARTICLE_DOMAIN: {"identities": "canary"}}, "must have an identity"),
        ((), {MPARTICLE_DOMAIN: "canary"}, "must have an identity"),
    ],
)
def test_what_mparticle_would_refuse_is_not_sent(
    identities: tuple[Identity, ...], extensions: Any, fault: str
) -> None:
    with pytest.raises(Unsupported, match=fault) as raised:
        check(Dialect.MPARTICLE_3, *identities, extensions=extensions)
    assert "canary" not in raised.value.message


def test_specification_knows_no_request_without_an_identity() -> None:
    with pytest.raises(Unsupported):
        check(Dialect.SPECIFICATION_2, extensions=OTHER)


@pytest.mark.parametrize(
    "limits", [{"identities": frozenset({IdentityType.EMAIL})}, {"types": frozenset()}]
)
def test_settings_say_what_is_not_sent(limits: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        check(Dialect.SPECIFICATION_2, CUSTOMER, **limits)


def test_regions_need_names_of_their_own() -> None:
    with pytest.raises(ValidationError, match="a name of its own"):
        ProcessorSection(dialect=Dialect.MPARTICLE_3, regions=(HERE, HERE))


@pytest.mark.parametrize(
    "url", ["https://a:b@c.example/v3", "https://c.example/v3?x=1", "c.example"]
)
def test_address_of_a_region_holds_no_secret(url: str) -> None:
    with pytest.raises(ValidationError):
        RegionSection(name="here", url=url)
