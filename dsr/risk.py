"""How risky a request is: rules that anybody can follow, and no refusal.

Each rule that applies has a weight, and says why. The score is what remains of 1 when every weight
is taken off, one after the other: 1 - (1 - a)(1 - b) ... So it grows with each rule, and stays
below 1. By the weights, no rule alone reaches the default threshold of 0.6, and two mostly do.

What was learned from past requests, if anything was, counts as one rule more: a request that is
unlike them gets the weight that reaches the threshold alone, and the features that make it so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from math import prod
from typing import TYPE_CHECKING

from config.dsr import RiskSection
from schemas.dsr import Dsr, Identity, Risk
from schemas.identities import domain_of
from schemas.requests import Tally

if TYPE_CHECKING:
    from schemas.risk_model import Cause, Judgement

DAY = 24 * 3600

VELOCITY = 0.4
MISMATCH = 0.5
DISPOSABLE = 0.35
UNUSUAL = 0.6


@dataclass(frozen=True)
class Signals:
    """What is known of a request when it comes; requests are those of a day, this one counted."""

    of_subject: float = 0
    of_submitter: float = 0
    of_source: float = 0
    disposable_domain: bool = False
    identity_mismatch: bool = False


@dataclass(frozen=True)
class _Finding:
    weight: float
    reason: str


def assess(signals: Signals, rules: RiskSection, learned: Judgement | None = None) -> Risk:
    """The score, from 0 to below 1, and the reasons for it. Reasons hold no personal data."""
    findings = [*_findings(signals, rules), *_learned_findings(learned)]
    score = 1 - prod(1 - finding.weight for finding in findings)
    return Risk(round(score, 4), tuple(finding.reason for finding in findings))


def within_a_day(tally: Tally, now: datetime) -> float:
    """Requests of the last day, taking those of the period before to have come evenly."""
    elapsed = now.timestamp() % DAY / DAY
    return tally.current + tally.previous * (1 - elapsed)


def is_disposable(identities: Collection[Identity], domains: Collection[str]) -> bool:
    """Whether an email is of one of these domains, or of one below it."""
    wanted = {domain.casefold() for domain in domains}
    return any(
        above in wanted for identity in identities for above in _domains(domain_of(identity))
    )


def is_mismatched(subjects: Collection[str], earlier: Collection[Dsr]) -> bool:
    """Whether an earlier request of the same subject knows them by another identity.

    That is, both share one, and each names one that the other does not.
    """
    mine = set(subjects)
    others = [set(dsr.subjects) for dsr in earlier]
    return any(mine & theirs and mine - theirs and theirs - mine for theirs in others)


def _findings(signals: Signals, rules: RiskSection) -> Iterator[_Finding]:
    velocities = (
        ("subject", signals.of_subject, rules.subject_per_day),
        ("submitter", signals.of_submitter, rules.submitter_per_day),
        ("source", signals.of_source, rules.source_per_day),
    )
    for name, count, limit in velocities:
        if count > limit:
            text = f"{name}_velocity: {count:.0f} requests of one {name} in a day, above {limit}"
            yield _Finding(VELOCITY, text)
    if signals.disposable_domain:
        yield _Finding(DISPOSABLE, "disposable_domain: the email is of a disposable domain")
    if signals.identity_mismatch:
        text = "identity_mismatch: an earlier request knows the subject by another identity"
        yield _Finding(MISMATCH, text)


def _learned_findings(judgement: Judgement | None) -> Iterator[_Finding]:
    if judgement is not None and judgement.is_unusual:
        causes = ", ".join(map(_told, judgement.causes)) or "no feature alone"
        yield _Finding(UNUSUAL, f"unusual: unlike past requests, by {causes}")


def _told(cause: Cause) -> str:
    low, high = f"{cause.usual.low:.4g}", f"{cause.usual.high:.4g}"
    usual = low if low == high else f"{low} to {high}"
    return f"{cause.feature} {cause.value:.4g} (usually {usual})"


def _domains(domain: str | None) -> Iterator[str]:
    """A domain, and all above it."""
    while domain:
        yield domain
        domain = domain.partition(".")[2]
