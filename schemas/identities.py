"""What identifies a subject: checked, and written in one way, so that what is alike is found.

Nothing here repeats a value in an error: identities are personal data.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.errors import Invalid

MOST = 20
"""Identities of one request."""

LONGEST = 256
"""Characters of an identity; of an email 254 (RFC 5321, 4.5.3.1.3, less the brackets)."""

_LONGEST_EMAIL = 254
_LONGEST_LOCAL_PART = 64
_DIGITS = {IdentityFormat.MD5: 32, IdentityFormat.SHA1: 40, IdentityFormat.SHA256: 64}
_DIGESTS: Mapping[IdentityFormat, Callable[..., hashlib._Hash]] = {
    IdentityFormat.MD5: hashlib.md5,
    IdentityFormat.SHA1: hashlib.sha1,
    IdentityFormat.SHA256: hashlib.sha256,
}
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\\\]]+")
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
KEEPS_CASE = frozenset({IdentityType.CONTROLLER_CUSTOMER_ID})
"""Of these two that differ in case alone may be two subjects."""


def checked(identity: Identity, where: str = "identity") -> Identity:
    """The identity without white space around it, in Unicode's form NFC.

    Raises ``Invalid``, which names ``where`` and the fault, not the value.
    """
    value = unicodedata.normalize("NFC", identity.value).strip()
    fault = _fault(identity, value)
    if fault is not None:
        raise Invalid(f"{where}: {fault}", where=where)
    return Identity(identity.type, value, identity.format)


def checked_all(identities: Sequence[Identity]) -> tuple[Identity, ...]:
    """Each as ``checked``. Raises ``Invalid``, also for none, too many, or two of one type."""
    if not 1 <= len(identities) <= MOST:
        raise Invalid(f"identities: give 1 to {MOST}", where="identities")
    found = tuple(checked(one, f"identities.{n}.value") for n, one in enumerate(identities))
    if len({(one.type, one.format) for one in found}) < len(found):
        raise Invalid("identities: give one of a type and format at most", where="identities")
    return found


def normalised(identity: Identity, plus_addressing: bool = False) -> str:
    """The value as it is compared: in NFC, and without what makes no difference.

    That is case, but for customer ids, and with ``plus_addressing`` what follows a ``+`` in an
    email's local part. The identity has to be ``checked``.
    """
    if identity.format is not IdentityFormat.RAW:
        return unicodedata.normalize("NFC", identity.value).strip().lower()
    return normalised_value(identity.value, identity.type, plus_addressing)


def normalised_value(value: str, kind: IdentityType, plus_addressing: bool = False) -> str:
    """As ``normalised``, of an identity that is given in plain."""
    composed = unicodedata.normalize("NFC", value).strip()
    if kind in KEEPS_CASE:
        return composed
    # Folding may take a composed character apart again.
    folded = unicodedata.normalize("NFC", composed.casefold())
    if kind is IdentityType.EMAIL and plus_addressing:
        return _without_tag(folded)
    return folded


def digest_of(text: str, form: IdentityFormat) -> str:
    """The digest of a text, as an identity of this format is given. Not of ``RAW``.

    Half of a surrogate pair, which stands for no character, is no hindrance.
    """
    return _DIGESTS[form](text.encode("utf-8", "surrogatepass")).hexdigest()


def domain_of(identity: Identity) -> str | None:
    """The domain of a plain email, in small letters; None for all else."""
    if identity.type is not IdentityType.EMAIL or identity.format is not IdentityFormat.RAW:
        return None
    return normalised(identity).rpartition("@")[2]


def masked(identity: Identity) -> str:
    """The value as it may be shown to those who know the subject anyway: its first letter."""
    value = identity.value
    domain = domain_of(identity)
    return f"{value[:1]}***" if domain is None else f"{value[:1]}***@{domain}"


def _fault(identity: Identity, value: str) -> str | None:
    if not value:
        return "is empty"
    if len(value) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        return "holds control characters"
    if identity.format is not IdentityFormat.RAW:
        return _fault_of_hash(value, identity.format)
    return _fault_of_email(value) if identity.type is IdentityType.EMAIL else None


def _fault_of_hash(value: str, form: IdentityFormat) -> str | None:
    digits = _DIGITS[form]
    if len(value) == digits and _HEXADECIMAL.fullmatch(value):
        return None
    return f"is no {form}: that has {digits} hexadecimal digits"


def _fault_of_email(value: str) -> str | None:
    local, at, domain = value.rpartition("@")
    is_address = (
        at
        and len(value) <= _LONGEST_EMAIL
        and len(local) <= _LONGEST_LOCAL_PART
        and _LOCAL_PART.fullmatch(local)
        and all(_LABEL.fullmatch(label) for label in domain.split("."))
    )
    return None if is_address else "is no email address"


def _without_tag(email: str) -> str:
    local, at, domain = email.rpartition("@")
    plain = local.partition("+")[0]
    return f"{plain or local}{at}{domain}"
