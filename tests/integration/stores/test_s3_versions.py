"""Older versions of S3 objects: removed when asked, and named where they cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from stores.objects.port import OldVersions
from stores.objects.s3 import S3ObjectStore
from tests.emulators import s3_client
from tests.faults import FaultProxy, Refuse
from tests.integration.stores.conftest import new_bucket, settings_for


@dataclass(frozen=True)
class Versioned:
    """A store over a bucket that keeps versions, and the bucket by S3's own account."""

    store: S3ObjectStore
    client: Any
    bucket: str

    def left(self, key: str) -> list[str]:
        """What there is of a key, the newest first: contents, and marks of deletions."""
        answer = self.client.list_object_versions(Bucket=self.bucket, Prefix=f"lake/{key}")
        found = [one["VersionId"] for one in answer.get("Versions", [])]
        return [*found, *("mark" for _ in answer.get("DeleteMarkers", []))]

    def lock(self, key: str, version: str) -> None:
        held = {"LegalHold": {"Status": "ON"}}
        target = {"Bucket": self.bucket, "Key": f"lake/{key}", "VersionId": version}
        self.client.put_object_legal_hold(**target, **held)


@pytest.fixture
def versioned(s3_url: str) -> Versioned:
    client, bucket = s3_client(s3_url), new_bucket(s3_url)
    enabled = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    return Versioned(S3ObjectStore(bucket, "lake", settings_for(s3_url)), client, bucket)


@pytest.fixture
def locked(s3_url: str) -> Versioned:
    """One whose oldest version of ``a`` is under legal hold."""
    client, bucket = s3_client(s3_url), f"{new_bucket(s3_url)[:50]}-locked"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    made = Versioned(S3ObjectStore(bucket, "lake", settings_for(s3_url)), client, bucket)
    for content in (b"oldest", b"older", b"newest"):
        made.store.put("a", content)
    made.lock("a", made.left("a")[-1])
    return made


def test_only_the_newest_version_is_left(versioned: Versioned) -> None:
    for content in (b"1", b"2", b"3"):
        versioned.store.put("a", content)
    assert versioned.store.remove_old_versions("a") == OldVersions(2)
    assert (versioned.store.read("a"), len(versioned.left("a"))) == (b"3", 1)


def test_older_versions_are_told(versioned: Versioned) -> None:
    for content in (b"1", b"2", b"3"):
        versioned.store.put("a", content)
    assert {kept.id for kept in versioned.store.old_versions("a")} == {*versioned.left("a")[1:]}
    assert len(versioned.store.old_versions("a")) == 2


def test_of_a_deleted_object_nothing_is_left(versioned: Versioned) -> None:
    versioned.store.put("a", b"1")
    versioned.store.delete("a")
    versioned.store.put("a", b"2")
    versioned.store.delete("a")
    assert versioned.store.remove_old_versions("a") == OldVersions(2)
    assert versioned.left("a") == []


def test_versions_of_keys_that_begin_alike_are_left_alone(versioned: Versioned) -> None:
    for key in ("a", "a-b", "a/b"):
        versioned.store.put(key, b"1")
        versioned.store.put(key, b"2")
    versioned.store.remove_old_versions("a")
    assert (len(versioned.left("a-b")), len(versioned.left("a/b"))) == (2, 2)


def test_a_locked_version_is_named(locked: Versioned) -> None:
    held = locked.left("a")[-1]
    found = locked.store.remove_old_versions("a")
    assert (found.removed, [kept.id for kept in found.kept]) == (1, [held])
    assert "AccessDenied" in found.kept[0].reason


def test_what_was_deleted_does_not_come_back_while_a_version_is_locked(locked: Versioned) -> None:
    locked.store.delete("a")
    locked.store.remove_old_versions("a")
    assert locked.store.head("a") is None
    assert [one for one in locked.left("a") if one == "mark"] == ["mark"]


def test_where_versions_may_not_be_seen_that_is_said(moto_url: str) -> None:
    with FaultProxy(moto_url) as proxy:
        store = S3ObjectStore(new_bucket(moto_url), "lake", settings_for(proxy.url))
        store.put("a", b"1")
        proxy.inject(Refuse(403, "AccessDenied"), times=9, query="versions")
        (kept,) = store.remove_old_versions("a").kept
        assert (kept.id, "AccessDenied" in kept.reason) == ("", True)
