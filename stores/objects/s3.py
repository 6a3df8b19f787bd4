"""Objects in S3, or in a store that speaks its protocol.

Data waits as a multipart upload under its final key, which no reader sees, and is completed by
``publish``; nothing is copied. S3 does not say which run an upload belongs to, so a small marker
object says it. What a killed process leaves, at each point of an object's way::

    stage    1  PUT  _lethe/staging/<run>/<random>  {"key": K, "upload_id": ""}
                                                        the marker; no upload
             2  CreateMultipartUpload K                 the marker, and an upload it does not name;
                                                        two, if an answer was lost on the way
             3  PUT  the marker, with the upload's id   both
             4  UploadPart ...                          both, and parts
    publish  5  CompleteMultipartUpload                 the object, and a marker without an upload
             6  DELETE the marker                       the object

After 2, ``discard`` finds the upload as one of K that no marker of any run names, and aborts it.
Should another run be between 2 and 3 with the same K at that moment, its upload is taken as well:
that run fails with ``ObjectMissing`` and loses no published data. After 5, ``list_staged`` still
shows the object, and discarding it does it no harm.

Conditional writes need a store that honours ``If-None-Match`` and ``If-Match`` on PutObject (S3
does since November 2024); ``check_writable`` proves the first. ``publish_if_match`` and
``delete_if_match`` look at the object first, and send ``If-Match`` besides. A store that passes it
over on CompleteMultipartUpload or DeleteObject (S3 does not, since September 2025 for the latter)
therefore refuses what was changed before, and not what is changed in that very moment.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any, BinaryIO, TypeVar

from botocore.exceptions import ClientError

from schemas.errors import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreUnavailable,
)
from stores.objects.keys import STAGING, TEMPORARY, check_key, check_prefix, staging_area
from stores.objects.port import (
    KeptVersion,
    ObjectInfo,
    ObjectStore,
    OldVersions,
    StagedObject,
    StagedWriter,
)
from stores.objects.presign import S3Presigner
from stores.objects.s3_client import S3Place, code_of, status_of
from stores.objects.s3_streams import MultipartWriter, Upload, attempts, open_stream
from stores.objects.s3_versions import old_versions, remove_old_versions
from stores.objects.settings import S3Settings

T = TypeVar("T")

_SIDE_BY_SIDE = 16
"""Objects read or published at a time: the network is what is waited for."""

_PROBE_LIFETIME = timedelta(hours=1)


class S3ObjectStore(ObjectStore):
    """The object store over ``bucket``, below ``prefix`` if there is one. Thread-safe."""

    def __init__(self, bucket: str, prefix: str = "", settings: S3Settings | None = None) -> None:
        folder = f"{prefix.strip('/')}/".lstrip("/")
        self._place = S3Place(bucket, folder, settings or S3Settings())

    @property
    def uri(self) -> str:
        return self._place.uri()

    @property
    def presigner(self) -> S3Presigner:
        return S3Presigner(self._place)

    def check_writable(self) -> None:
        self._sweep_probes()
        probe = f"{TEMPORARY}/{uuid.uuid4().hex}"
        self.put(probe, b"1")
        try:
            self.put_if_absent(probe, b"2")
        except ObjectExists:
            return
        finally:
            self.delete(probe)
        raise StoreError(
            f"{self.uri}: the store ignores If-None-Match, so two runs could overwrite each other: "
            "use one with conditional writes"
        )

    def head(self, key: str) -> ObjectInfo | None:
        with self._place.asking(key):
            try:
                answer = self._place.client.head_object(**self._place.target(key))
            except ClientError as error:
                if status_of(error) != 404:
                    raise
                return None
        return ObjectInfo(key, answer["ContentLength"], answer["ETag"], answer["LastModified"])

    def read(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        return open_stream(self._place, key, offset, etag)

    def read_each(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        left = iter(keys)
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            while some := tuple(islice(left, _SIDE_BY_SIDE)):
                yield from zip(some, pool.map(self.read, some), strict=True)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        base = self._place.prefix
        query = {"Bucket": self._place.bucket, "Prefix": base + check_prefix(prefix)}
        if start_after:
            query["StartAfter"] = base + start_after
        for found in self._pages("list_objects_v2", "Contents", query):
            # Consoles mark a folder by an empty object whose key ends at a slash.
            if not found["Key"].endswith("/"):
                yield _listed(found, found["Key"].removeprefix(base))

    def put(self, key: str, data: bytes) -> ObjectInfo:
        with self._place.asking(key):
            return self._put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> ObjectInfo:
        try:
            return self._put_conditionally(key, data, IfNoneMatch="*")
        except ObjectChanged as refusal:
            found = self._if_it_holds(key, data)
            if found is None:
                raise ObjectExists(f"{self._place.uri(key)} exists already", key=key) from refusal
            return found

    def put_if_match(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        try:
            return self._put_conditionally(key, data, IfMatch=etag)
        except ObjectChanged:
            found = self._if_it_holds(key, data)
            if found is None:
                raise
            return found
        except ObjectMissing as missing:
            raise ObjectChanged(
                f"{self._place.uri(key)} was deleted by someone else: read it again", key=key
            ) from missing

    def delete(self, key: str) -> None:
        with self._place.asking(key):
            self._place.client.delete_object(**self._place.target(key))

    def delete_if_match(self, key: str, etag: str) -> None:
        found = self.head(key)
        if found is None:
            return
        if found.etag != etag:
            raise self._changed(key)
        target = self._place.target(key)
        with suppress(ObjectMissing):
            self._decided(key, lambda: self._place.client.delete_object(**target, IfMatch=etag))

    def old_versions(self, key: str) -> tuple[KeptVersion, ...]:
        return old_versions(self._place, key)

    def remove_old_versions(self, key: str) -> OldVersions:
        return remove_old_versions(self._place, key)

    def stage(self, key: str, run_id: str) -> StagedWriter:
        attempt = uuid.uuid4().hex
        self._mark(key, run_id, attempt, "")
        upload_id = self._create_upload(key)
        self._mark(key, run_id, attempt, upload_id)
        staged = StagedObject(key, run_id, f"{attempt}.{upload_id}", 0, "")
        return MultipartWriter(Upload(self._place, upload_id, staged, self.discard))

    def settle(self, run_id: str) -> None:
        """A part that S3 has acknowledged is durable."""

    def publish(self, staged: Iterable[StagedObject]) -> None:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for _ in pool.map(self._publish, staged):
                pass

    def _publish(self, staged: StagedObject) -> None:
        with self._place.asking(staged.key):
            try:
                self._complete(staged)
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise
                self._check_published(staged)
        self.delete(_marker_of(staged))

    def publish_if_match(self, staged: StagedObject, etag: str) -> None:
        found = self.head(staged.key)
        if not self.holds(staged, found):
            if found is None or found.etag != etag:
                raise self._changed(staged.key)
            self._replace(staged, etag)
        self.delete(_marker_of(staged))

    def _replace(self, staged: StagedObject, etag: str) -> None:
        try:
            self._decided(staged.key, lambda: self._complete(staged, IfMatch=etag))
        except (ObjectChanged, ObjectMissing) as refusal:
            # It may be botocore's second try at a completion whose answer was lost.
            found = self.head(staged.key)
            if self.holds(staged, found):
                return
            if found is not None and found.etag == etag:
                raise self._staged_is_gone(staged) from refusal
            raise self._changed(staged.key) from refusal

    def list_staged(self, run_id: str) -> Iterator[StagedObject]:
        for marker in self.list(staging_area(run_id)):
            with suppress(ObjectMissing):  # published or discarded since it was listed
                yield self._marked(marker.key)

    def discard(self, staged: StagedObject) -> None:
        upload_id = _upload_of(staged)
        self._abort(staged.key, {upload_id} if upload_id else self._unnamed_uploads(staged.key))
        self.delete(_marker_of(staged))

    def clear_staging(self, run_id: str) -> None:
        for staged in self.list_staged(run_id):
            self.discard(staged)

    def _sweep_probes(self) -> None:
        """Delete what processes killed in ``check_writable`` have left."""
        oldest = datetime.now(UTC) - _PROBE_LIFETIME
        for probe in self.list(f"{TEMPORARY}/"):
            if probe.modified < oldest:
                self.delete(probe.key)

    def _put(self, key: str, data: bytes, **condition: str) -> ObjectInfo:
        answer = self._place.client.put_object(**self._place.target(key), Body=data, **condition)
        return ObjectInfo(key, len(data), answer["ETag"], _answered_at(answer))

    def _put_conditionally(self, key: str, data: bytes, **condition: str) -> ObjectInfo:
        return self._decided(key, lambda: self._put(key, data, **condition))

    def _decided(self, key: str, write: Callable[[], T]) -> T:
        """Write under a condition; again while a concurrent write of the key is undecided."""
        try:
            with self._place.asking(key):
                return attempts(self._place, _Undecided)(_unless_undecided, write)
        except _Undecided as conflict:
            raise StoreUnavailable(
                f"{self._place.uri(key)}: others write it all the time: try again later", key=key
            ) from conflict

    def _if_it_holds(self, key: str, data: bytes) -> ObjectInfo | None:
        """Facts of the object if its content is ``data``.

        A refused conditional write may be botocore's second try at one whose answer was lost.
        """
        found = self.head(key)
        if found is None or found.size != len(data):
            return None
        with suppress(ObjectMissing, ObjectChanged):
            return found if self.read(key) == data else None
        return None

    def _mark(self, key: str, run_id: str, attempt: str, upload_id: str) -> None:
        body = json.dumps({"key": check_key(key), "upload_id": upload_id})
        self.put(staging_area(run_id) + attempt, body.encode())

    def _marked(self, marker: str) -> StagedObject:
        run_id, attempt = marker.split("/")[-2:]
        body = json.loads(self.read(marker))
        return StagedObject(body["key"], run_id, f"{attempt}.{body['upload_id']}", 0, "")

    def _create_upload(self, key: str) -> str:
        with self._place.asking(key):
            answer = self._place.client.create_multipart_upload(**self._place.target(key))
        upload_id = str(answer["UploadId"])
        if answer["ResponseMetadata"].get("RetryAttempts"):
            # An earlier try, whose answer was lost, may have made an upload of its own.
            self._abort(key, self._unnamed_uploads(key) - {upload_id})
        return upload_id

    def _complete(self, staged: StagedObject, **condition: str) -> None:
        parts = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(staged.parts, 1)
        ]
        self._place.client.complete_multipart_upload(
            **self._place.target(staged.key),
            UploadId=_upload_of(staged),
            MultipartUpload={"Parts": parts},
            **condition,
        )

    def _check_published(self, staged: StagedObject) -> None:
        found = self.head(staged.key)
        if found is None or found.size != staged.size:
            raise self._staged_is_gone(staged)

    def _staged_is_gone(self, staged: StagedObject) -> ObjectMissing:
        return ObjectMissing(
            f"{self._place.uri(staged.key)} can not be published: its staged data is gone",
            key=staged.key,
        )

    def _changed(self, key: str) -> ObjectChanged:
        return ObjectChanged(
            f"{self._place.uri(key)} was changed by someone else: read it again", key=key
        )

    def _unnamed_uploads(self, key: str) -> set[str]:
        """Ids of the uploads of ``key`` that no marker names."""
        target = self._place.target(key)
        query = {"Bucket": target["Bucket"], "Prefix": target["Key"]}
        uploads = self._pages("list_multipart_uploads", "Uploads", query)
        found = {upload["UploadId"] for upload in uploads if upload["Key"] == target["Key"]}
        return found - self._named_uploads() if found else found

    def _named_uploads(self) -> set[str]:
        named = set()
        for marker in self.list(f"{STAGING}/"):
            with suppress(ObjectMissing):
                named.add(_upload_of(self._marked(marker.key)))
        return named

    def _abort(self, key: str, upload_ids: Set[str]) -> None:
        for upload_id in upload_ids:
            with self._place.asking(key), _ignoring("NoSuchUpload"):
                self._place.client.abort_multipart_upload(
                    **self._place.target(key), UploadId=upload_id
                )

    def _pages(self, operation: str, member: str, query: dict[str, str]) -> Iterator[Any]:
        """The ``member`` items of all pages of a listing."""
        with self._place.asking(query["Prefix"].removeprefix(self._place.prefix)):
            for page in self._place.client.get_paginator(operation).paginate(**query):
                yield from page.get(member, [])


class _Undecided(Exception):
    """The store cannot tell yet which of several concurrent writes of a key will be first."""


def _unless_undecided(write: Callable[[], T]) -> T:
    try:
        return write()
    except ClientError as error:
        if code_of(error) == "ConditionalRequestConflict":
            raise _Undecided from error
        raise


@contextmanager
def _ignoring(code: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if code_of(error) != code:
            raise


def _upload_of(staged: StagedObject) -> str:
    """The upload's id; empty if the process died before it could be noted."""
    return staged.token.partition(".")[2]


def _marker_of(staged: StagedObject) -> str:
    return staging_area(staged.run_id) + staged.token.partition(".")[0]


def _listed(found: Any, key: str) -> ObjectInfo:
    return ObjectInfo(key, found["Size"], found["ETag"], found["LastModified"])


def _answered_at(answer: Any) -> datetime:
    """When the store wrote what it confirms here; its clock, in whole seconds."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
