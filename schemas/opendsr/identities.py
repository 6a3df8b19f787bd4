"""The identities of a subject as they are written: a list (OpenDSR 2.0), or by type (mParticle v3).

    [{"identity_type": "email", "identity_value": "...", "identity_format": "raw"}]
    {"email": {"value": "...", "encoding": "raw"}}

Both are read, whoever sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.identities import MOST
from schemas.opendsr.model import Dialect
from schemas.opendsr.wire import Fields, malformed, member

FIELD = "subject_identities"


def encode_identities(identities: Sequence[Identity], dialect: Dialect) -> Any:
    """The identities in this dialect; of a type that mParticle is given twice, the last."""
    if dialect is Dialect.MPARTICLE_3:
        return {
            one.type.value: {"value": one.value, "encoding": one.format.value} for one in identities
        }
    return [
        {
            "identity_type": one.type.value,
            "identity_value": one.value,
            "identity_format": one.format.value,
        }
        for one in identities
    ]


def decode_identities(fields: Fields) -> tuple[Identity, ...]:
    """What ``subject_identities`` holds, in either form; none if it is missing."""
    written = fields.raw(FIELD)
    if isinstance(written, dict):
        return tuple(_by_type(fields.within(FIELD)))
    return tuple(
        _listed(Fields(one, f"{fields.named(FIELD)}.{number}"))
        for number, one in enumerate(fields.listed(FIELD, MOST))
    )


def _listed(one: Fields) -> Identity:
    kind = one.needed("identity_type", one.one_of("identity_type", IdentityType))
    value = one.needed("identity_value", one.text("identity_value"))
    return Identity(kind, value, one.one_of("identity_format", IdentityFormat) or _RAW)


def _by_type(identities: Fields) -> Iterator[Identity]:
    names = identities.names()
    if len(names) > MOST:
        raise malformed(FIELD, f"must have at most {MOST}")
    for number, name in enumerate(names):
        kind = member(IdentityType, name)
        if kind is None:
            # The name is not repeated: who mistakes the form writes a value there.
            raise malformed(f"{FIELD}.{number}", f"must be named {', '.join(IdentityType)}")
        one = identities.within(name)
        form = one.one_of("encoding", IdentityFormat) or _RAW
        yield Identity(kind, one.needed("value", one.text("value")), form)


_RAW = IdentityFormat.RAW
