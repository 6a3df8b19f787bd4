"""The detail of an audit entry as stores keep it: JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from schemas.audit import AuditDraft


def written_detail(draft: AuditDraft) -> str:
    """The text of a draft's detail. Raises ``ValueError`` for what JSON cannot say."""
    return json.dumps(dict(draft.detail), allow_nan=False)


def read_detail(text: str) -> Mapping[str, Any]:
    """The detail that was written so; what cannot be read is given as it is.

    Only who changed it wrote it so: the entry is there to be looked at, and its hash does not fit.
    """
    try:
        detail = json.loads(text)
    except (ValueError, RecursionError):
        detail = None
    return detail if isinstance(detail, dict) else {"unreadable": text}
