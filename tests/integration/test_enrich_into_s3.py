"""``lethe enrich`` into S3: the output appears whole, and a run that ends is gone on with."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runners.direct import DirectRunner
from runners.enrich import EnrichmentRequest, run_enrichment
from runners.generate import contacts
from runners.generate.output import write_file
from schemas.contacts import EnrichmentPlan, EnrichmentReport
from schemas.errors import InputError
from schemas.jobs import PartProgress
from stores.enrichment.client import ApiSettings
from stores.enrichment.errors import ApiUnavailable
from stores.objects import S3Settings
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url, s3_client
from tests.mock_api import Mock, running_mock
from transforms.contacts.progress import FileProgress, Progress, Reporter

__all__ = ["moto_url"]  # a fixture: pytest finds it here

COUNT = 6_000


@dataclass(frozen=True)
class Bucket:
    name: str
    url: str

    @property
    def settings(self) -> S3Settings:
        return S3Settings(self.url, REGION, ACCESS_KEY, SECRET_KEY)

    def objects(self) -> list[str]:
        found = s3_client(self.url).list_objects_v2(Bucket=self.name)
        return [each["Key"] for each in found.get("Contents", [])]

    def lines(self, key: str) -> list[str]:
        content = s3_client(self.url).get_object(Bucket=self.name, Key=key)["Body"].read()
        return [json.loads(line)["id"] for line in content.splitlines()]


class Silent:
    """Progress that nobody wants to know."""

    def reporter(self) -> Reporter:
        return self

    def report(self, progress: PartProgress) -> None:
        """Nothing is told."""

    def close(self) -> None:
        """Nothing was told."""


@pytest.fixture
def bucket(moto_url: str) -> Bucket:
    name = f"b-{uuid.uuid4().hex[:12]}"
    make_bucket(moto_url, name)
    return Bucket(name, moto_url)


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with running_mock() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "contacts.ndjson"
    write_file(path, contacts(COUNT, seed=1))
    return path


def ignore(plan: EnrichmentPlan) -> None:
    """What was found in the input does not matter here."""


def enrich(
    source: str, bucket: Bucket, mock: Mock, progress: Progress | None = None, **api: float
) -> EnrichmentReport:
    request = EnrichmentRequest(
        source,
        f"s3://{bucket.name}/some/out.ndjson",
        ApiSettings(mock.url, concurrency=4, **api),  # type: ignore[arg-type]
        resume=True,
        s3=bucket.settings,
    )
    with DirectRunner(workers=1) as runner:
        return run_enrichment(request, runner, progress or Silent(), ignore)


def ids() -> list[str]:
    return [f"c-{number:08d}" for number in range(COUNT)]


def test_the_output_is_there_and_nothing_else_but_a_receipt(
    file: Path, bucket: Bucket, mock: Mock
) -> None:
    done = enrich(str(file), bucket, mock)
    assert (done.contacts, done.enriched) == (COUNT, COUNT)
    assert bucket.lines("some/out.ndjson") == ids()
    assert bucket.objects() == ["some/_lethe/enrich/out.ndjson/receipt.json", "some/out.ndjson"]


def test_an_input_in_s3_is_read_where_it_lies(file: Path, bucket: Bucket, mock: Mock) -> None:
    s3_client(bucket.url).upload_file(str(file), bucket.name, "in.ndjson")
    enrich(f"s3://{bucket.name}/in.ndjson", bucket, mock)
    assert bucket.lines("some/out.ndjson") == ids()


def test_a_run_that_ends_keeps_what_is_finished(file: Path, bucket: Bucket, mock: Mock) -> None:
    mock.set(outage=True)
    with pytest.raises(ApiUnavailable):
        enrich(str(file), bucket, mock, patience=0.2)
    assert "some/out.ndjson" not in bucket.objects()
    mock.set(outage=False)
    assert enrich(str(file), bucket, mock).enriched == COUNT
    assert bucket.lines("some/out.ndjson") == ids()


def test_progress_is_told_to_its_end(
    file: Path, bucket: Bucket, mock: Mock, tmp_path: Path
) -> None:
    progress = FileProgress(tmp_path / "progress")
    enrich(str(file), bucket, mock, progress)
    assert progress.total() == (COUNT // 100, 0)


def test_an_input_that_changes_under_a_run_ends_it(
    file: Path, bucket: Bucket, mock: Mock, tmp_path: Path
) -> None:
    def change(plan: EnrichmentPlan) -> None:
        write_file(file, contacts(10, seed=2))

    request = EnrichmentRequest(str(file), str(tmp_path / "out.ndjson"), ApiSettings(mock.url))
    with DirectRunner(workers=1) as runner, pytest.raises(InputError, match="has changed"):
        run_enrichment(request, runner, Silent(), change)
