"""What of a request is learned from: numbers that say nothing of who it is about. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dsr.risk import Signals
from schemas.dsr import Identity, IdentityFormat, IdentityType, Regulation, RequestType


@dataclass(frozen=True)
class Asked:
    """What is asked for, and when, in the controller's time zone."""

    identities: Collection[Identity]
    regulation: Regulation
    type: RequestType
    extensions: Mapping[str, Any]
    at: datetime


def features_of(signals: Signals, asked: Asked) -> dict[str, float]:
    """Each of ``schemas.risk_model.FEATURES``, by name; requests a day as the rules count them."""
    formats = [identity.format for identity in asked.identities]
    types = {identity.type for identity in asked.identities}
    found = {
        "subject_per_day": round(signals.of_subject, 3),
        "submitter_per_day": round(signals.of_submitter, 3),
        "source_per_day": round(signals.of_source, 3),
        "hour": asked.at.hour,
        "weekday": asked.at.weekday(),
        "identities": len(formats),
        "hashed_identities": len(formats) - formats.count(IdentityFormat.RAW),
        "has_email": IdentityType.EMAIL in types,
        "disposable_domain": signals.disposable_domain,
        "identity_mismatch": signals.identity_mismatch,
        "extensions": len(asked.extensions),
        "is_erasure": asked.type is RequestType.ERASURE,
        "is_ccpa": asked.regulation is Regulation.CCPA,
    }
    return {name: float(value) for name, value in found.items()}
