"""What was learned from past requests: the file of it, and how a request is judged by it.

The file is JSON, ``{"sha256": ..., "model": {...}}``: numbers and names, nothing that runs when it
is read. The digest is of the bytes of ``model``, and tells a damaged file; it is no signature.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np

from schemas.errors import UsageError
from schemas.forest import Forest, Numbers, Tree, forest_of

FEATURES = (
    "subject_per_day",
    "submitter_per_day",
    "source_per_day",
    "hour",
    "weekday",
    "identities",
    "hashed_identities",
    "has_email",
    "disposable_domain",
    "identity_mismatch",
    "extensions",
    "is_erasure",
    "is_ccpa",
)
"""What is looked at, in order. Numbers that say nothing of who a subject is."""

LARGEST = 32 * 1024 * 1024
"""Bytes that the file of a model has at most."""

_MOST_CAUSES = 3
_LEAST_SHARE = 0.1
"""Causes that are named contribute so much of what the first one does."""


class Usual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What nine of ten past requests have of a feature, and half have up to ``middle``."""

    low: float
    middle: float
    high: float


class RiskModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A forest, and what is needed to judge by it and to tell where it comes from.

    ``requests`` is how many it was learned from, ``sample`` how many each tree was grown from. A
    request with an anomaly above ``cut`` is unusual, which ``share`` of the past ones were.
    """

    features: tuple[str, ...]
    learned_at: str
    learned_with: dict[str, str]
    requests: int
    share: float
    cut: float
    sample: int
    usual: tuple[Usual, ...]
    trees: tuple[Tree, ...]
    format: Literal["lethe-risk-1"] = "lethe-risk-1"

    @cached_property
    def forest(self) -> Forest:
        """Its trees. Raises ``ValueError`` for what is no forest."""
        return forest_of(self.trees, len(self.features), self.sample)

    def judge(self, features: Mapping[str, float]) -> Judgement:
        """How unlike past requests one with these features is, and why."""
        point = np.asarray([features[name] for name in self.features], np.float64)
        anomaly, weights = self._weighed(point)
        names = sorted(range(len(point)), key=lambda place: -weights[place])
        least = max(float(weights[names[0]]) * _LEAST_SHARE, 1e-9)
        causes = [place for place in names[:_MOST_CAUSES] if weights[place] >= least]
        told = tuple(
            Cause(self.features[place], float(point[place]), self.usual[place]) for place in causes
        )
        return Judgement(anomaly, anomaly > self.cut, told)

    def _weighed(self, point: Numbers) -> tuple[float, Numbers]:
        """The anomaly, and what each feature does for it.

        That is what it takes off if the feature were as usual, and what it alone adds to a request
        that is usual otherwise, on average: so one is found that has another beside it.
        """
        count, usual = len(point), np.asarray([each.middle for each in self.usual])
        one = np.eye(count, dtype=bool)
        others_only, alone = np.where(one, usual, point), np.where(one, point, usual)
        found = self.forest.anomalies(np.vstack([point, usual, others_only, alone]))
        without, with_it = found[2 : 2 + count], found[2 + count :]
        return float(found[0]), (found[0] - without + with_it - found[1]) / 2


@dataclass(frozen=True)
class Cause:
    """A feature that makes a request unusual: its value, and what is usual."""

    feature: str
    value: float
    usual: Usual


@dataclass(frozen=True)
class Judgement:
    """How unlike past requests one is, from 0 to 1, and the features that make it so, first ones
    first."""

    anomaly: float
    is_unusual: bool
    causes: tuple[Cause, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    model: msgspec.Raw


def encode_model(model: RiskModel) -> bytes:
    """The file of a model."""
    body = msgspec.json.encode(model)
    return msgspec.json.encode(_File(hashlib.sha256(body).hexdigest(), msgspec.Raw(body)))


def decode_model(data: bytes, where: str) -> RiskModel:
    """The model of a file, checked. Raises ``UsageError``, which names the file by ``where``."""
    try:
        file = msgspec.json.decode(data, type=_File)
        if hashlib.sha256(file.model).hexdigest() != file.sha256:
            raise ValueError("its digest is another one")
        model = msgspec.json.decode(file.model, type=RiskModel)
        _check(model)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"{where}: no risk model, or a damaged one: {error}") from None
    _check_features(model, where)
    return model


def digest_of(data: bytes) -> str:
    """The digest that the file of a model has, without checking it."""
    return msgspec.json.decode(data, type=_File).sha256


def _check(model: RiskModel) -> None:
    """Raises ``ValueError``."""
    if len(model.usual) != len(model.features) or not math.isfinite(model.cut):
        raise ValueError("each feature has what is usual of it")
    _ = model.forest


def _check_features(model: RiskModel, where: str) -> None:
    if model.features == FEATURES:
        return
    apart = ", ".join(sorted({*model.features} ^ {*FEATURES})) or "their order"
    raise UsageError(
        f"{where}: learned from other features than this version has ({apart}): "
        "learn it again, by lethe dsr learn-risk"
    )


def row_of(features: Mapping[str, float]) -> tuple[float, ...] | None:
    """The values in order; None of a request of which one is not known."""
    known: Sequence[float | None] = [features.get(name) for name in FEATURES]
    whole = tuple(float(value) for value in known if value is not None)
    return whole if len(whole) == len(FEATURES) else None
