"""What S3 keeps between staging and publishing, and what a killed process leaves there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from stores.objects.keys import TEMPORARY
from stores.objects.s3 import S3ObjectStore
from tests.emulators import s3_client
from tests.integration.stores.conftest import PART, new_bucket, settings_for

RUN, OTHER_RUN = "run-1", "run-2"


@dataclass(frozen=True)
class Killed:
    """A store, and what is in its bucket by S3's own account."""

    store: S3ObjectStore
    client: Any
    bucket: str

    def uploads(self) -> set[str]:
        answer = self.client.list_multipart_uploads(Bucket=self.bucket)
        return {upload["UploadId"] for upload in answer.get("Uploads", [])}

    def markers(self) -> list[str]:
        return [info.key for info in self.store.list("_lethe/staging/")]

    def start_upload(self, key: str) -> str:
        """An upload that no marker names, as left by a kill right after it was created."""
        answer = self.client.create_multipart_upload(Bucket=self.bucket, Key=f"lake/{key}")
        return str(answer["UploadId"])

    def write_intent(self, key: str, run_id: str = RUN) -> None:
        body = f'{{"key": "{key}", "upload_id": ""}}'.encode()
        self.store.put(f"_lethe/staging/{run_id}/0123456789abcdef", body)


@pytest.fixture
def killed(s3_url: str) -> Killed:
    bucket = new_bucket(s3_url)
    store = S3ObjectStore(bucket, "lake", settings_for(s3_url))
    return Killed(store, s3_client(s3_url), bucket)


def test_kill_before_the_upload_leaves_an_intent_that_is_cleared(killed: Killed) -> None:
    killed.write_intent("a")
    assert [left.key for left in killed.store.list_staged(RUN)] == ["a"]
    killed.store.clear_staging(RUN)
    assert killed.markers() == []


def test_kill_before_the_upload_is_noted_leaves_none_after_clearing(killed: Killed) -> None:
    killed.write_intent("a")
    killed.start_upload("a")
    killed.store.clear_staging(RUN)
    assert (killed.uploads(), killed.markers()) == (set(), [])


def test_clearing_an_intent_spares_uploads_that_another_run_noted(killed: Killed) -> None:
    theirs = killed.store.stage("a", OTHER_RUN).close()
    killed.write_intent("a")
    killed.start_upload("a")
    killed.store.clear_staging(RUN)
    killed.store.publish([theirs])
    assert killed.store.read("a") == b""


def test_clearing_an_intent_spares_uploads_of_longer_keys(killed: Killed) -> None:
    longer = killed.start_upload("a-b")
    killed.write_intent("a")
    killed.store.clear_staging(RUN)
    assert killed.uploads() == {longer}


def test_kill_between_parts_leaves_no_upload_after_clearing(killed: Killed) -> None:
    killed.store.stage("a", RUN).write(b"x" * (PART + 1))
    assert len(killed.uploads()) == 1
    killed.store.clear_staging(RUN)
    assert (killed.uploads(), killed.markers()) == (set(), [])


def test_kill_before_the_marker_is_deleted_leaves_the_object_after_clearing(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = killed.store.stage("a", RUN)
    writer.write(b"data")
    with monkeypatch.context() as patch:
        patch.setattr(killed.store, "delete", lambda _key: None)
        killed.store.publish([writer.close()])
    assert len(killed.markers()) == 1
    killed.store.clear_staging(RUN)
    assert (killed.store.read("a"), killed.markers()) == (b"data", [])


def test_publishing_leaves_neither_upload_nor_marker(killed: Killed) -> None:
    killed.store.publish([killed.store.stage("a", RUN).close()])
    assert (killed.uploads(), killed.markers()) == (set(), [])


def test_parts_are_sent_while_writing(killed: Killed) -> None:
    writer = killed.store.stage("a", RUN)
    writer.write(b"x" * (2 * PART + 1))
    writer.write(b"")
    assert len(writer.close().parts) == 3


def test_folder_marks_of_consoles_are_not_listed(killed: Killed) -> None:
    killed.client.put_object(Bucket=killed.bucket, Key="lake/folder/", Body=b"")
    killed.store.put("folder/a", b"")
    assert [info.key for info in killed.store.list()] == ["folder/a"]


def test_fresh_probe_of_another_process_is_left_alone(killed: Killed) -> None:
    killed.store.put(f"{TEMPORARY}/theirs", b"1")
    killed.store.check_writable()
    assert killed.store.head(f"{TEMPORARY}/theirs") is not None
