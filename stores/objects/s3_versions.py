"""What a bucket that keeps versions has kept of an object, and how it is removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from schemas.errors import AccessDenied
from stores.objects.port import KeptVersion, OldVersions
from stores.objects.s3_client import S3Place


def old_versions(place: S3Place, key: str) -> tuple[KeptVersion, ...]:
    """All versions of ``key`` but the current one.

    Raises ``StoreUnavailable`` if the store does not answer.
    """
    try:
        found = list(_versions(place, key))
    except AccessDenied as denied:
        return (KeptVersion("", denied.message),)
    return tuple(KeptVersion(one, "nobody asked for its removal") for one in _ids_of_old(found))


def remove_old_versions(place: S3Place, key: str) -> OldVersions:
    """Remove all versions of ``key`` but the current one, and marks of deletions.

    A locked version, one under legal hold and one that may not be removed are named as kept.
    Raises ``StoreUnavailable`` if the store does not answer.
    """
    try:
        found = list(_versions(place, key))
    except AccessDenied as denied:
        return OldVersions(0, (KeptVersion("", denied.message),))
    old = _ids_of_old(found)
    kept = tuple(one for one in (_removed(place, key, version) for version in old) if one)
    if not kept:
        # Last of all: without its mark, an older version would be what the key holds.
        for mark in [one["VersionId"] for one in found if not _has_content(one)]:
            _removed(place, key, mark)
    return OldVersions(len(old) - len(kept), kept)


def _ids_of_old(found: Iterable[Any]) -> list[str]:
    return [one["VersionId"] for one in found if _has_content(one) and not one["IsLatest"]]


def _versions(place: S3Place, key: str) -> Iterator[Any]:
    """Versions of ``key`` and marks of its deletion; these sort before keys that begin alike."""
    target = place.target(key)
    query = {"Bucket": target["Bucket"], "Prefix": target["Key"]}
    with place.asking(key):
        for page in place.client.get_paginator("list_object_versions").paginate(**query):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            own = [one for one in found if one["Key"] == target["Key"]]
            yield from own
            if len(own) < len(found):
                return


def _has_content(found: Any) -> bool:
    """Whether it is a version, and no mark of a deletion."""
    return "Size" in found


def _removed(place: S3Place, key: str, version: str) -> KeptVersion | None:
    try:
        with place.asking(key):
            place.client.delete_object(**place.target(key), VersionId=version)
    except AccessDenied as denied:
        return KeptVersion(version, denied.message)
    return None
