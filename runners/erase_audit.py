"""What the audit log says of an erasure."""

from __future__ import annotations

import hashlib

from schemas.audit import AuditDraft
from schemas.erasure import Certificate
from stores.erasure_certificates import encode_certificate

NOBODYS = ""
"""The organization of an erasure that no data subject request asked for."""


def certified(certificate: Certificate, actor: str, organization: str = NOBODYS) -> AuditDraft:
    """The entry that a certificate was made, with its digest: a later one cannot pass for it."""
    content = encode_certificate(certificate)
    return AuditDraft(
        actor,
        organization,
        "erasure.certified",
        f"erasure:{certificate.id}",
        {
            "certificateSha256": hashlib.sha256(content).hexdigest(),
            "mode": certificate.mode.value,
            "files": len(certificate.files),
            "rows": certificate.matched,
            "unreachable": len(certificate.unreachable),
            "openRuns": len(certificate.open_runs),
        },
    )
