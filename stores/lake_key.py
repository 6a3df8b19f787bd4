"""Which scrub key a lake is written with: by another one, nobody in it would be found or kept out.

Hashed values, subject indexes and lists of suppressed subjects are all made with keys that are
derived from one scrub key. Its fingerprint lies in the lake from the first command on that writes
any of them. With another key an erasure would pass over what is hashed, and be certified all the
same; and a delivery would bring erased subjects back.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import msgspec

from schemas.errors import ObjectExists, ObjectMissing, UsageError
from stores.log_entries import decode_as
from stores.objects.port import ObjectStore

LAKE_KEY = "_lethe/scrub-key.json"


class OtherKey(UsageError):
    """The lake was written with another scrub key than the one that is given."""

    code = "other_scrub_key"
    http_status = 409


@dataclass(frozen=True)
class _LakeKey:
    """The fingerprint of the key, which tells nothing of the key itself."""

    fingerprint: str


def check_key(store: ObjectStore, fingerprint: str) -> None:
    """Raise ``OtherKey`` unless the lake is this key's, or nobody's yet."""
    _is_claimed(store, fingerprint)


def claim_key(store: ObjectStore, fingerprint: str) -> None:
    """Have the lake be this key's from now on. Raises ``OtherKey`` if it is another one's.

    Call before anything is written that was made with the key.
    """
    if not _is_claimed(store, fingerprint):
        with suppress(ObjectExists):  # another was first: perhaps with the same key
            store.put_if_absent(LAKE_KEY, msgspec.json.encode(_LakeKey(fingerprint)))
        _is_claimed(store, fingerprint)


def _is_claimed(store: ObjectStore, fingerprint: str) -> bool:
    try:
        kept: _LakeKey = decode_as(_LakeKey, LAKE_KEY, store.read(LAKE_KEY))
    except ObjectMissing:
        return False
    if kept.fingerprint != fingerprint:
        raise OtherKey(
            f"the lake is written with the scrub-key {kept.fingerprint[:16]!r}, and the one given "
            f"here is {fingerprint!r} (fingerprints): nobody would be found where values are "
            "hashed, nor kept out: give the lake's key, by LETHE_SCRUB_KEY or where parameters are "
            "kept"
        )
    return True
