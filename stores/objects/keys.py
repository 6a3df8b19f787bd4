"""What a key may look like, and where a store keeps its own files.

A store's own files lie beside the data::

    _lethe/staging/<run id>/...    what a run has staged and not yet published
    _lethe/tmp/                    whole files on their way to their names, probes of writability
    _lethe/locks/                  local only: a fixed number of lock files
"""

from __future__ import annotations

from schemas.errors import UsageError

OWN = "_lethe/"
STAGING = f"{OWN}staging"
TEMPORARY = f"{OWN}tmp"
LOCKS = f"{OWN}locks"


def check_key(key: str) -> str:
    """Return ``key``, or raise ``UsageError`` if it could mean another place than it says."""
    if not _is_plain(key) or any(part in {"", ".", ".."} for part in key.split("/")):
        raise UsageError(
            f"{key!r} cannot be an object key: use a relative path without '.', '..', empty parts, "
            "backslashes or NUL"
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix``, the start of some keys, or raise ``UsageError``."""
    if prefix and (not _is_plain(prefix) or {".", ".."} & set(prefix.split("/")[:-1])):
        raise UsageError(
            f"{prefix!r} cannot start an object key: use a relative path without '.', '..', "
            "backslashes or NUL"
        )
    return prefix


def staging_area(run_id: str) -> str:
    """The key prefix, with its ``/``, of all that ``run_id`` has staged."""
    if "/" in check_key(run_id):
        raise UsageError(f"{run_id!r} cannot be a run id: it must not hold a '/'")
    return f"{STAGING}/{run_id}/"


def _is_plain(text: str) -> bool:
    return not text.startswith("/") and "\0" not in text and "\\" not in text
