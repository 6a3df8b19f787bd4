"""What a processor is sent, by its settings and its dialect: nothing else need be asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.dsr import IdentityFormat, IdentityType, RequestType
from schemas.opendsr.model import MPARTICLE_DOMAIN, Dialect, SubjectRequest
from stores.processors.errors import Unsupported

_MPID = "mpid"


@dataclass(frozen=True)
class Supported:
    """The types of identities and of requests that the processor ``name`` takes."""

    name: str
    dialect: Dialect
    identities: frozenset[IdentityType]
    types: frozenset[RequestType]

    def check(self, request: SubjectRequest) -> None:
        """Raises ``Unsupported``, which names types and fields, never a value."""
        fault = self._fault(request)
        if fault is not None:
            raise Unsupported(f"{self.name}: {fault}")

    def _fault(self, request: SubjectRequest) -> str | None:
        if request.type not in self.types:
            return f"does not take requests of type {request.type}"
        unknown = sorted({one.type for one in request.identities} - self.identities)
        if unknown:
            return f"does not know identities of type {', '.join(unknown)}"
        if self.dialect is Dialect.MPARTICLE_3:
            return _fault_of_mparticle(request)
        return None if request.identities else "a request must have an identity"


def _fault_of_mparticle(request: SubjectRequest) -> str | None:
    types = [one.type for one in request.identities]
    if any(one.format is not IdentityFormat.RAW for one in request.identities):
        return "takes identities as they are (raw), not hashed"
    if len(set(types)) < len(types):
        return "takes one identity of a type"
    further = _further_identities(request.extensions)
    if _MPID in further and (types or len(further) > 1):
        return "takes an mpid as the only identity"
    return None if types or further else "a request must have an identity"


def _further_identities(extensions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The identities that are in mParticle's extension."""
    extension = extensions.get(MPARTICLE_DOMAIN)
    found = extension.get("identities") if isinstance(extension, Mapping) else None
    return found if isinstance(found, Mapping) else {}
