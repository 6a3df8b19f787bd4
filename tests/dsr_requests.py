"""Data subject requests for tests."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.dsr import Dsr, DsrStatus, Identity, IdentityType, Regulation, RequestType

RECEIVED = datetime(2026, 11, 21, 9, tzinfo=UTC)

EMAIL = Identity(IdentityType.EMAIL, "ana.canary@example.com")


def a_request(**changes: Any) -> Dsr:
    """A queued erasure of an organization's subject; an id of its own unless one is given."""
    made: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "organization": "org-1",
        "owner": "user-1",
        "regulation": Regulation.GDPR,
        "type": RequestType.ERASURE,
        "status": DsrStatus.QUEUED,
        "received_at": RECEIVED,
        "updated_at": RECEIVED,
        "due_at": RECEIVED + timedelta(days=30),
        "subjects": ("a" * 64,),
        "sealed": b"sealed",
    }
    return Dsr(**{**made, **changes})
