"""Tokens as an attacker makes them, and as they should be."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from schemas.access import ROLES, Action, Resource, Right
from schemas.errors import StoreUnavailable, UsageError
from service.security.tokens import (
    Refused,
    SharedKeySource,
    TokenVerifier,
    TrustedIssuer,
    VerifyingKey,
)
from stores.parameters import ParameterStore
from stores.tokens import Grant, SharedKey, SharedKeys, sign_token

KEY = SharedKey(b"k" * 32)
NOW = datetime.now(UTC)
DAY = 86_400
"""Seconds: long after the last of these tests has run."""
PRIVATE = rsa.generate_private_key(65537, 2048)
PUBLIC = PRIVATE.public_key()
RSA_KEY = "rsa-1"
GOOD = {"sub": "me", "org": "org-1", "roles": ["viewer"]}


class Parameters(ParameterStore):
    """One value, or none to be had."""

    def __init__(self, value: str | None) -> None:
        super().__init__(lambda: 0.0)
        self.value = value

    def get(self, name: str) -> str:
        return self._fetch(name)

    def _fetch(self, name: str) -> str:
        if self.value is None:
            raise StoreUnavailable("no answer")
        return self.value


class OneKey:
    """An issuer with one RSA key."""

    def find(self, key_id: str) -> VerifyingKey | None:
        return VerifyingKey(PUBLIC, ("RS256",)) if key_id == RSA_KEY else None


def verifier() -> TokenVerifier:
    shared = SharedKeySource(SharedKeys(Parameters(KEY.secret.decode())))
    issuers = [TrustedIssuer("lethe", shared), TrustedIssuer("https://idp", OneKey())]
    return TokenVerifier(issuers, "lethe", leeway=30)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(NOW.timestamp())
    found = {"iss": "lethe", "aud": "lethe", "iat": now, "exp": now + DAY, **GOOD, **changed}
    return {name: value for name, value in found.items() if value is not None}


def signed(**changed: Any) -> str:
    return jwt.encode(claims(**changed), KEY.secret, "HS256", headers={"kid": KEY.id})


def signed_by_issuer(algorithm: str = "RS256", **changed: Any) -> str:
    given_claims = claims(**{"iss": "https://idp", **changed})
    return jwt.encode(given_claims, PRIVATE, algorithm, headers={"kid": RSA_KEY})


def by_hand(header: dict[str, Any], payload: dict[str, Any], secret: bytes | None) -> str:
    """A token that no library would make."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, payload)
    ]
    text = b".".join(parts)
    mac = b"" if secret is None else hmac.digest(secret, text, "sha256")
    return (text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def refusal(token: str) -> str:
    with pytest.raises(Refused) as caught:
        verifier().identify(token)
    return caught.value.cause


def test_signed_token_names_its_principal() -> None:
    principal = verifier().identify(signed(roles=["viewer", "submitter"])).principal
    assert (principal.subject, principal.organization) == ("me", "org-1")
    assert principal.rights == ROLES["viewer"] | ROLES["submitter"]


def test_token_of_an_issuer_with_public_keys_is_taken() -> None:
    assert verifier().identify(signed_by_issuer()).principal.subject == "me"


def test_granted_token_is_taken_as_granted() -> None:
    right = Right.parse("enrichment:read:organization")
    grant = Grant("me", "org-1", (), (right,))
    token = sign_token(grant, KEY, "lethe", "lethe", NOW, timedelta(hours=1))
    identity = verifier().identify(token)
    assert identity.principal.rights == {right}
    assert identity.expires_at == NOW.replace(microsecond=0) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"exp": NOW.timestamp() - 60}, "ExpiredSignatureError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"nbf": NOW.timestamp() + DAY}, "ImmatureSignatureError"),
        ({"iat": NOW.timestamp() + DAY}, "ImmatureSignatureError"),
        ({"aud": "another-service"}, "InvalidAudienceError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"iss": "somebody"}, "InvalidIssuerError"),
        ({"iss": "https://idp"}, "InvalidIssuerError"),
        ({"org": None}, "MissingRequiredClaimError"),
        ({"sub": None}, "MissingRequiredClaimError"),
        ({"sub": "me@example.com"}, "bad subject or organization"),
        ({"sub": "me\nadmin"}, "bad subject or organization"),
        ({"sub": "a" * 129}, "bad subject or organization"),
        ({"org": "../org-2"}, "bad subject or organization"),
        ({"org": ["org-1", "org-2"]}, "claims of wrong types"),
        ({"roles": "admin"}, "claims of wrong types"),
        ({"roles": {"admin": True}}, "claims of wrong types"),
        ({"roles": [["admin"]]}, "claims of wrong types"),
        ({"roles": ["viewer"] * 65}, "claims of wrong types"),
        ({"rights": "lake:read:all"}, "claims of wrong types"),
    ],
)
def test_token_with_a_bad_claim_is_refused(changed: dict[str, Any], cause: str) -> None:
    assert refusal(signed(**changed)) == cause


def test_clocks_may_differ_a_little() -> None:
    expired = datetime.now(UTC).timestamp() - 10
    assert verifier().identify(signed(exp=expired)).principal.subject == "me"


def test_expiry_beyond_all_times_is_refused() -> None:
    assert refusal(signed(exp=10**18)) == "expires beyond all times"


@pytest.mark.parametrize("name", ["none", "None", "NONE", ""])
def test_unsigned_token_is_refused(name: str) -> None:
    token = by_hand({"alg": name, "kid": KEY.id}, claims(), None)
    assert refusal(token) == "InvalidAlgorithmError"


def test_signature_by_the_public_key_as_a_secret_is_refused() -> None:
    """The confusion of HS256 and RS256."""
    pem = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    token = by_hand({"alg": "HS256", "kid": RSA_KEY}, claims(iss="https://idp"), pem)
    assert refusal(token) == "InvalidAlgorithmError"


def test_algorithm_that_the_key_is_not_for_is_refused() -> None:
    assert refusal(signed_by_issuer("PS256")) == "InvalidAlgorithmError"


def test_one_issuers_key_signs_nothing_for_the_other() -> None:
    assert refusal(signed_by_issuer(iss="lethe")) == "InvalidIssuerError"


def test_key_that_stands_in_the_token_is_not_used() -> None:
    """Neither ``jwk`` nor ``jku`` of a header is looked at (RFC 8725, 3.10)."""
    own = rsa.generate_private_key(65537, 2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key()))
    headers = {"kid": RSA_KEY, "jwk": jwk, "jku": "https://evil/keys"}
    token = jwt.encode(claims(iss="https://idp"), own, "RS256", headers=headers)
    assert refusal(token) == "InvalidSignatureError"


def test_token_changed_after_signing_is_refused() -> None:
    header, _, signature = signed().split(".")
    payload = by_hand({}, claims(roles=["admin"]), None).split(".")[1]
    assert refusal(f"{header}.{payload}.{signature}") == "InvalidSignatureError"


@pytest.mark.parametrize("header", [{}, {"kid": 1}, {"kid": ""}, {"kid": None}])
def test_token_that_names_no_key_is_refused(header: dict[str, Any]) -> None:
    token = by_hand({"alg": "HS256", **header}, claims(), KEY.secret)
    assert refusal(token) in {"names no key", "InvalidTokenError"}


def test_critical_header_that_is_not_understood_is_refused() -> None:
    header = {"alg": "HS256", "kid": KEY.id, "crit": ["x"], "x": 1}
    assert refusal(by_hand(header, claims(), KEY.secret)) == "InvalidTokenError"


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**4000, "soon", [1], {}])
def test_time_that_is_none_is_refused(claim: str, value: Any) -> None:
    assert refusal(by_hand({"alg": "HS256", "kid": KEY.id}, claims(**{claim: value}), KEY.secret))


@pytest.mark.parametrize("header", [b"[" * 5000, b'{"kid":' + b"9" * 5000 + b"}", b"null", b"1"])
def test_header_that_is_hard_to_read_is_refused(header: bytes) -> None:
    assert refusal(base64.urlsafe_b64encode(header).rstrip(b"=").decode() + ".e30.e30")


def test_endless_token_is_refused_before_it_is_read() -> None:
    assert refusal("a" * 9000) == "too long"


@given(st.text(max_size=300))
def test_garbage_is_refused(text: str) -> None:
    assert refusal(text)


@given(st.tuples(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=40)))
def test_garbage_of_the_right_form_is_refused(parts: tuple[bytes, ...]) -> None:
    assert refusal(".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts))


@pytest.mark.parametrize("claim", ["role", "scope", "permissions", "admin", "groups", "Roles"])
def test_claim_that_is_not_known_gives_no_right(claim: str) -> None:
    for value in ("admin", ["admin"], "lake:read:all", True):
        principal = verifier().identify(signed(**{claim: value})).principal
        assert principal.rights == ROLES["viewer"]


def test_role_that_is_not_known_gives_no_right() -> None:
    token = signed(roles=["root", "Admin", "admin ", "*"], rights=["*:*:*", "lake:*:all"])
    assert verifier().identify(token).principal.rights == frozenset()


def test_cause_of_a_refusal_holds_nothing_of_the_token() -> None:
    assert "secret" not in refusal(signed(aud="secret-audience", sub="secret"))


def test_old_key_verifies_while_the_new_one_signs() -> None:
    keys = SharedKeys(Parameters(f"{'n' * 32}\n{KEY.secret.decode()}"))
    checks = TokenVerifier([TrustedIssuer("lethe", SharedKeySource(keys))], "lethe", 30)
    new = keys.all()[0]
    token = sign_token(Grant("me", "o", ("viewer",)), new, "lethe", "lethe", NOW, timedelta(1))
    subjects = {checks.identify(each).principal.subject for each in (token, signed())}
    assert (new.secret, subjects) == (b"n" * 32, {"me"})


def test_withdrawn_key_verifies_nothing() -> None:
    keys = SharedKeys(Parameters("n" * 32))
    checks = TokenVerifier([TrustedIssuer("lethe", SharedKeySource(keys))], "lethe", 30)
    with pytest.raises(Refused, match="unknown key"):
        checks.identify(signed())


def test_keys_outlive_an_outage_of_their_store() -> None:
    parameters = Parameters(KEY.secret.decode())
    keys = SharedKeys(parameters)
    keys.all()
    parameters.value = None
    assert keys.find(KEY.id) == KEY


def test_keys_that_were_never_there_are_an_outage() -> None:
    with pytest.raises(StoreUnavailable):
        SharedKeys(Parameters(None)).all()


@pytest.mark.parametrize("value", ["", "  ", "short", f"{'k' * 32} short"])
def test_short_key_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(UsageError, match="at least 32") as caught:
        SharedKeys(Parameters(value)).all()
    assert "short" not in str(caught.value)


def test_keys_id_and_form_tell_nothing_of_it() -> None:
    assert (len(KEY.id), "kkk" in repr(KEY)) == (16, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": "me@example.com"},
        {"organization": "a/b"},
        {"roles": ("king",)},
        {"roles": ()},
    ],
)
def test_nobody_is_granted_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Grant(**{"subject": "me", "organization": "org-1", "roles": ("viewer",), **wrong})


def test_every_role_can_be_granted() -> None:
    tokens = [
        sign_token(Grant("me", "o", (role,)), KEY, "lethe", "lethe", NOW, timedelta(1))
        for role in ROLES
    ]
    found = [verifier().identify(token).principal.rights for token in tokens]
    assert found == list(ROLES.values())


def test_own_rights_reach_no_further_than_their_owner() -> None:
    principal = verifier().identify(signed(roles=["submitter"])).principal
    reach = principal.reach(Resource.ENRICHMENT, Action.READ)
    assert (reach.organization, reach.owner) == ("org-1", "me")
