"""Risk rules: what raises the score, why, and that nothing is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.dsr import RiskSection
from dsr.risk import Signals, assess, is_disposable, is_mismatched, within_a_day
from schemas.dsr import Identity, IdentityType
from schemas.requests import Tally
from tests.dsr_requests import EMAIL, a_request

RULES = RiskSection()
QUIET = Signals(of_subject=1, of_submitter=1, of_source=1)
LOUD = {
    "of_subject": 4.0,
    "of_submitter": 1001.0,
    "of_source": 1001.0,
    "disposable_domain": True,
    "identity_mismatch": True,
}
SIGNALS = st.builds(
    Signals,
    of_subject=st.floats(0, 10),
    of_submitter=st.floats(0, 2000),
    of_source=st.floats(0, 2000),
    disposable_domain=st.booleans(),
    identity_mismatch=st.booleans(),
)


def test_quiet_request_is_harmless() -> None:
    assert assess(QUIET, RULES).score == 0
    assert assess(QUIET, RULES).reasons == ()


def test_as_many_as_are_allowed_are_no_finding() -> None:
    assert assess(replace(QUIET, of_subject=3), RULES).reasons == ()


@pytest.mark.parametrize("name", [*LOUD])
def test_one_rule_alone_says_why_and_holds_nothing(name: str) -> None:
    risk = assess(replace(QUIET, **{name: LOUD[name]}), RULES)
    assert len(risk.reasons) == 1
    assert 0 < risk.score < RULES.review_at


def test_two_rules_together_hold_a_request() -> None:
    risk = assess(replace(QUIET, of_subject=4, identity_mismatch=True), RULES)
    assert risk.score >= RULES.review_at
    assert [reason.partition(":")[0] for reason in risk.reasons] == [
        "subject_velocity",
        "identity_mismatch",
    ]


def test_every_signal_is_looked_at() -> None:
    assert {field.name for field in fields(Signals)} == {*LOUD}


@given(SIGNALS, st.sampled_from([*LOUD]))
def test_more_signals_never_lower_the_score(signals: Signals, name: str) -> None:
    louder = replace(signals, **{name: LOUD[name]})
    quieter = replace(signals, **{name: getattr(QUIET, name)})
    assert assess(quieter, RULES).score <= assess(louder, RULES).score < 1


def test_earlier_period_counts_by_what_is_left_of_it() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert within_a_day(Tally(current=2, previous=10), noon) == 7


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("mailinator.example", True),
        ("eu.Mailinator.example", True),
        ("notmailinator.example", False),
    ],
)
def test_disposable_domains_include_those_below_them(domain: str, found: bool) -> None:
    identity = Identity(IdentityType.EMAIL, f"ana@{domain}")
    assert is_disposable([identity], ["mailinator.EXAMPLE"]) is found


def test_only_emails_are_of_a_domain() -> None:
    assert not is_disposable([Identity(IdentityType.ANDROID_ID, "a@b.example")], ["b.example"])
    assert not is_disposable([EMAIL], [])


@pytest.mark.parametrize(
    ("earlier", "found"),
    [
        (("email", "id-1"), False),
        (("email",), False),
        (("email", "id-1", "device"), False),
        (("email", "id-2"), True),
        (("other", "id-2"), False),
    ],
)
def test_subject_known_by_another_identity_is_a_mismatch(
    earlier: tuple[str, ...], found: bool
) -> None:
    assert is_mismatched(("email", "id-1"), [a_request(subjects=earlier)]) is found
