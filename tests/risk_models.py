"""Models of past requests for tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from random import Random

from schemas.risk_model import RiskModel, row_of
from transforms.risk import Lesson, Sample, learn

USUAL = {
    "subject_per_day": 1.0,
    "submitter_per_day": 20.0,
    "source_per_day": 5.0,
    "hour": 11.0,
    "weekday": 2.0,
    "identities": 1.0,
    "hashed_identities": 0.0,
    "has_email": 1.0,
    "disposable_domain": 0.0,
    "identity_mismatch": 0.0,
    "extensions": 0.0,
    "is_erasure": 1.0,
    "is_ccpa": 0.0,
}
"""A request as most are: on a weekday, in office hours."""


def usual_features(count: int) -> Iterator[dict[str, float]]:
    """Features of requests of office hours, the same ones every time."""
    drawn = Random(5)
    for _ in range(count):
        yield {
            **USUAL,
            "subject_per_day": float(drawn.choice([1, 1, 1, 2])),
            "submitter_per_day": float(drawn.randint(1, 60)),
            "source_per_day": float(drawn.randint(1, 9)),
            "hour": float(drawn.randint(8, 17)),
            "weekday": float(drawn.randint(0, 4)),
            "identities": float(drawn.choice([1, 1, 2])),
            "is_ccpa": float(drawn.choice([0, 1])),
        }


def usual_sample(count: int) -> Sample:
    rows = (row_of(features) for features in usual_features(count))
    return [(f"{place:08d}", row) for place, row in enumerate(rows) if row is not None]


@cache
def a_model() -> RiskModel:
    """What a thousand such requests teach, one of a hundred taken for unusual."""
    return learn(usual_sample(1000), Lesson(0.01, datetime(2026, 11, 21, tzinfo=UTC)))
