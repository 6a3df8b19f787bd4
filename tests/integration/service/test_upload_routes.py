"""Uploads over HTTP: announced, sent to a signed address, right or not there at all."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from config.service import EnrichmentSection
from schemas.access import Reach
from schemas.errors import NotFound, TooLarge
from service.bootstrap import Wiring
from service.enrichment.uploads import NewUpload, Uploads
from stores.objects import S3Settings
from stores.objects.s3 import S3ObjectStore
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url
from tests.integration.service.enrichment_requests import BEGIN, CSV, announcement, uploaded
from tests.integration.service.principals import OPERATOR, Client

__all__ = ["moto_url"]


@pytest.fixture
def operator(client: Client) -> FlaskClient:
    return client(OPERATOR)


def announced(asker: FlaskClient, content: bytes = CSV, **more: Any) -> dict[str, Any]:
    answer = asker.post("/v1/uploads", json=announcement(content, **more))
    assert answer.status_code == 201, answer.text
    assert answer.json is not None
    return dict(answer.json)


def contents(wiring: Wiring) -> list[str]:
    """What there is of uploads but the announcements."""
    keys = [info.key for prefix in ("uploads/", "_lethe/staging/") for info in
            wiring.files.list(prefix)]  # fmt: skip
    return [key for key in keys if not key.endswith("about.json")]


def test_received_upload_is_there_under_its_key(operator: FlaskClient, wiring: Wiring) -> None:
    assert wiring.files.read(uploaded(operator)) == CSV


def test_upload_needs_no_token_but_its_address(
    client: Client, operator: FlaskClient, wiring: Wiring
) -> None:
    upload = announced(operator)
    assert client(None).put(upload["uploadUrl"], data=CSV).status_code == 204


def test_repeated_upload_changes_nothing(operator: FlaskClient, wiring: Wiring) -> None:
    upload = announced(operator)
    statuses = [operator.put(upload["uploadUrl"], data=CSV).status_code for _ in range(2)]
    assert statuses == [204, 204]
    assert wiring.files.read(upload["inputFileKey"]) == CSV


@pytest.mark.parametrize(
    ("sent", "status"),
    [(CSV.upper(), 400), (CSV[:-1], 400), (CSV + b"x", 413), (b"", 400)],
    ids=["other", "short", "long", "empty"],
)
def test_what_was_not_announced_is_refused_and_leaves_nothing(
    operator: FlaskClient, wiring: Wiring, sent: bytes, status: int
) -> None:
    upload = announced(operator)
    assert operator.put(upload["uploadUrl"], data=sent).status_code == status
    assert contents(wiring) == []
    assert operator.put(upload["uploadUrl"], data=CSV).status_code == 204


@pytest.mark.parametrize(
    ("old", "new"), [("expires=", "expires=9"), ("signature=", "signature=0")], ids=["time", "sign"]
)
def test_address_cannot_be_changed(operator: FlaskClient, old: str, new: str) -> None:
    url = announced(operator)["uploadUrl"].replace(old, new)
    url = url if "=0" not in new else url[:-1]
    assert operator.put(url, data=CSV).status_code == 403


def test_address_of_one_upload_is_none_of_another(operator: FlaskClient) -> None:
    one, other = announced(operator), announced(operator)
    url = one["uploadUrl"].replace(one["uploadId"], other["uploadId"])
    assert operator.put(url, data=CSV).status_code == 403


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"contentType": "text/html"}, 415),
        ({"size": 0}, 422),
        ({"size": 10**12}, 413),
        ({"sha256": "abc"}, 422),
        ({"path": "/etc/passwd"}, 422),
    ],
)
def test_bad_announcement_is_refused(
    operator: FlaskClient, more: dict[str, Any], status: int
) -> None:
    answer = operator.post("/v1/uploads", json={**announcement(), **more})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("name", "media_type", "ending"),
    [
        ("../../etc/passwd", "text/csv", "contacts.csv"),
        ("ana@example.com.json.gz", "application/gzip", "contacts.json.gz"),
        ("a/b\\c.CSV", "application/octet-stream", "contacts.csv"),
        ("x.exe", "application/octet-stream", "contacts"),
        (None, "application/gzip", "contacts.gz"),
    ],
)
def test_of_a_file_name_only_a_known_ending_is_kept(
    operator: FlaskClient, name: str | None, media_type: str, ending: str
) -> None:
    upload = announced(operator, contentType=media_type, fileName=name)
    assert upload["inputFileKey"] == f"uploads/{upload['uploadId']}/{ending}"


class Times:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> Any:
        return self.now


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def uploads(wiring: Wiring, times: Times) -> Uploads:
    return Uploads(wiring.files, EnrichmentSection(), times)


def received(uploads: Uploads) -> str:
    about = announcement()
    upload = uploads.begin(NewUpload("text/csv", about["size"], about["sha256"]), "org-1", "user-1")
    uploads.receive(upload, BytesIO(CSV))
    return upload.key


def test_upload_past_its_time_can_not_be_used(uploads: Uploads, times: Times) -> None:
    key = received(uploads)
    times.now += timedelta(hours=24)
    with pytest.raises(NotFound):
        uploads.usable(key, Reach("org-1"))


def test_unused_upload_is_swept_when_nobody_can_use_it_any_more(
    uploads: Uploads, times: Times, wiring: Wiring
) -> None:
    received(uploads)
    times.now += timedelta(hours=24, minutes=30)
    assert uploads.sweep(frozenset()) == 0
    times.now += timedelta(hours=1)
    assert uploads.sweep(frozenset()) == 1
    assert list(wiring.files.list("uploads/")) == []


def test_upload_that_a_job_still_reads_is_not_swept(uploads: Uploads, times: Times) -> None:
    key = received(uploads)
    times.now += timedelta(days=9)
    assert uploads.sweep(frozenset([key])) == 0


def test_address_is_good_no_longer_than_its_upload(wiring: Wiring, times: Times) -> None:
    """What came to S3 after the sweep would be found by no later one."""
    section = EnrichmentSection(url_seconds=7 * 24 * 3600, upload_hours=2)
    uploads, about = Uploads(wiring.files, section, times), announcement()
    upload = uploads.begin(NewUpload("text/csv", about["size"], about["sha256"]), "org-1", "user-1")
    assert uploads.address(upload).expires_at == BEGIN + timedelta(hours=2)


def test_stream_is_not_read_far_beyond_what_was_announced(uploads: Uploads) -> None:
    class Endless(BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            self.taken += 1
            return b"x" * 1000

    about, endless = announcement(), Endless()
    upload = uploads.begin(NewUpload("text/csv", about["size"], about["sha256"]), "org-1", "user-1")
    with pytest.raises(TooLarge):
        uploads.receive(upload, endless)
    assert endless.taken == 1


@pytest.fixture
def s3_uploads(moto_url: str, times: Times) -> Uploads:
    settings = S3Settings(
        endpoint_url=moto_url, region=REGION, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    make_bucket(moto_url, "service-uploads")
    return Uploads(S3ObjectStore("service-uploads", "files", settings), EnrichmentSection(), times)


def test_upload_to_s3_goes_there_directly(s3_uploads: Uploads) -> None:
    about = announcement()
    asked = NewUpload("text/csv", about["size"], about["sha256"])
    upload = s3_uploads.begin(asked, "org-1", "user-1")
    address = s3_uploads.address(upload)
    assert (
        requests.put(address.url, data=CSV, headers=dict(address.headers), timeout=10).status_code
        == 200
    )
    assert s3_uploads.usable(upload.key, Reach("org-1")) == upload
    signed = "content-length%3Bcontent-type%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256"
    assert f"X-Amz-SignedHeaders={signed}" in address.url
