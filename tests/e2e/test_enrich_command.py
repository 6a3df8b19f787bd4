"""``lethe enrich`` against an API that misbehaves: each contact once, in order, always."""

from __future__ import annotations

import csv
import gzip
import json
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from runners.generate import contacts
from runners.generate.output import write_file
from stores.enrichment.records import decode_records
from stores.enrichment.work import WorkFolder
from tests.e2e.harness import Outcome, lethe, outcome, start
from tests.mock_api import Mock, running_mock

COUNT = 2_000
BATCH = 20
QUIET: dict[str, Any] = {
    "latency": 0.0, "error_rate": 0.0, "throttle": None, "malformed": 0.0, "outage": False,
    "breaking": [], "rejected": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[Mock]:
    with running_mock() as mock:
        yield mock


@pytest.fixture
def mock(running: Mock) -> Mock:
    running.set(**QUIET)
    return running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "contacts.ndjson"
    write_file(path, contacts(COUNT, seed=1))
    return path


def ids(count: int = COUNT) -> list[str]:
    return [f"c-{number:08d}" for number in range(count)]


def arguments(file: Path, out: Path, mock: Mock, *more: object) -> tuple[object, ...]:
    return ("enrich", file, "--out", out, "--api", mock.url, "--batch-size", BATCH, *more)


def enrich(file: Path, out: Path, mock: Mock, *more: object) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        return outcome(start(*arguments(file, out, mock, *more, "--report", report)), report)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_contact_comes_out_once_and_in_order(file: Path, tmp_path: Path, mock: Mock) -> None:
    out = tmp_path / "out.ndjson"
    done = enrich(file, out, mock)
    found = lines(out)
    assert done.status == 0, done.err
    assert [each["id"] for each in found] == ids()
    assert all(each["status"] == "enriched" and each["enrichment"] for each in found)
    assert (done.report["contacts"], done.report["enriched"], done.report["calls"]) == (
        COUNT, COUNT, COUNT // BATCH,
    )  # fmt: skip


def test_errors_throttling_and_garbage_cost_no_contact(
    file: Path, tmp_path: Path, mock: Mock
) -> None:
    mock.set(error_rate=0.1, malformed=0.1, throttle=60.0)
    out = tmp_path / "out.ndjson"
    done = enrich(file, out, mock)
    assert done.status == 0, done.err
    assert [each["id"] for each in lines(out)] == ids()
    assert done.report["failed"] == 0
    assert mock.stats()["throttled"] > 0


def test_an_outage_in_mid_run_is_waited_for(file: Path, tmp_path: Path, mock: Mock) -> None:
    mock.set(latency=0.05)
    out = tmp_path / "out.ndjson"
    process = start(*arguments(file, out, mock, "--concurrency", 2))
    wait_for_batches(out, 10)
    mock.set(outage=True)
    threading.Timer(3.0, lambda: mock.set(outage=False, latency=0.0)).start()
    assert outcome(process).status == 0
    assert [each["status"] for each in lines(out)] == ["enriched"] * COUNT


def test_errors_to_every_call_for_a_while_blame_no_contact(
    file: Path, tmp_path: Path, mock: Mock
) -> None:
    mock.set(error_rate=1.0)
    threading.Timer(3.0, lambda: mock.set(error_rate=0.0)).start()
    out = tmp_path / "out.ndjson"
    assert enrich(file, out, mock, "--concurrency", 1).report["failed"] == 0


def test_an_outage_without_end_keeps_what_is_finished(
    file: Path, tmp_path: Path, mock: Mock
) -> None:
    out = tmp_path / "out.ndjson"
    mock.set(outage=True)
    cut_off = enrich(file, out, mock, "--patience", "1s")
    mock.set(outage=False)
    assert (cut_off.status, out.exists()) == (1, False)
    assert "--resume" in cut_off.err
    assert enrich(file, out, mock, "--resume").report["enriched"] == COUNT


def test_the_contact_that_breaks_a_batch_is_found(file: Path, tmp_path: Path, mock: Mock) -> None:
    mock.set(breaking=[ids()[123]], rejected=[ids()[1500]])
    out = tmp_path / "out.ndjson"
    done = enrich(file, out, mock)
    failed = {each["id"]: each["reason"] for each in lines(out) if each["status"] == "failed"}
    assert failed == {ids()[123]: "api_error", ids()[1500]: "rejected"}
    assert done.report["by_reason"] == {"api_error": 1, "rejected": 1}


@pytest.mark.parametrize("attempt", range(6))
def test_a_killed_run_asks_again_only_for_unfinished_batches(
    attempt: int, file: Path, tmp_path: Path, mock: Mock
) -> None:
    mock.set(latency=0.03)
    out = tmp_path / "out.ndjson"
    killed = start(*arguments(file, out, mock, "--concurrency", 4))
    time.sleep(random.Random(attempt).uniform(0.5, 2.2))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    time.sleep(0.1)  # calls that the mock has begun
    mock.set(latency=0.0)
    finished, before = finished_contacts(out), mock.stats()["contacts"]
    done = enrich(file, out, mock, "--resume")
    assert done.status == 0, done.err
    assert [each["id"] for each in lines(out)] == ids()
    assert mock.stats()["contacts"] - before == COUNT - finished


def finished_contacts(out: Path) -> int:
    """How many contacts a killed run had finished, by what it left."""
    area = WorkFolder(out)
    if area.receipt() is not None:
        return COUNT
    kept = (path for path in area.path.glob("*/*/*") if path.parent.name in {"some", "done"})
    batches = {n: b for path in kept for n, b in decode_records(path.read_bytes()).items()}
    return sum(batch.summary.contacts for batch in batches.values())


def wait_for_batches(out: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while finished_contacts(out) < count * BATCH and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_finished_run_is_not_run_again_by_resume(file: Path, tmp_path: Path, mock: Mock) -> None:
    out = tmp_path / "out.ndjson"
    first = enrich(file, out, mock)
    before = mock.stats()["calls"]
    again = enrich(file, out, mock, "--resume")
    assert again.report == first.report
    assert mock.stats()["calls"] == before


def test_a_finished_run_does_not_keep_a_new_input_from_being_enriched(
    file: Path, tmp_path: Path, mock: Mock
) -> None:
    out = tmp_path / "out.ndjson"
    enrich(file, out, mock)
    write_file(file, contacts(10, seed=2))
    assert enrich(file, out, mock, "--resume").report["contacts"] == 10
    assert len(lines(out)) == 10


def unfinished(file: Path, out: Path, mock: Mock) -> None:
    mock.set(outage=True)
    enrich(file, out, mock, "--patience", "0.2s")
    mock.set(outage=False)


def test_an_unfinished_run_is_not_thrown_away(file: Path, tmp_path: Path, mock: Mock) -> None:
    out = tmp_path / "out.ndjson"
    unfinished(file, out, mock)
    refused = enrich(file, out, mock)
    assert refused.status == 2
    assert "--resume" in refused.err


def test_a_run_is_not_gone_on_with_from_another_input(
    file: Path, tmp_path: Path, mock: Mock
) -> None:
    out = tmp_path / "out.ndjson"
    unfinished(file, out, mock)
    write_file(file, contacts(10, seed=2))
    refused = enrich(file, out, mock, "--resume")
    assert refused.status == 2
    assert "the input" in refused.err


def test_two_runs_do_not_make_one_output(file: Path, tmp_path: Path, mock: Mock) -> None:
    mock.set(latency=0.2)
    out = tmp_path / "out.ndjson"
    first = start(*arguments(file, out, mock, "--concurrency", 2))
    wait_for_batches(out, 1)
    second = enrich(file, out, mock, "--resume")
    first.kill()
    first.communicate()
    assert second.status == 2
    assert "another run" in second.err


def test_no_output_is_seen_before_all_of_it_is_there(
    file: Path, tmp_path: Path, mock: Mock
) -> None:
    out = tmp_path / "out.ndjson"
    out.write_text("the output of last week\n")
    mock.set(outage=True)
    assert enrich(file, out, mock, "--patience", "0.2s").status == 1
    assert out.read_text() == "the output of last week\n"


@pytest.mark.parametrize("ending", ["ndjson", "json", "csv", "parquet"])
def test_every_format_holds_the_same_contacts(
    ending: str, file: Path, tmp_path: Path, mock: Mock
) -> None:
    out = tmp_path / f"out.{ending}"
    assert enrich(file, out, mock).status == 0
    assert read_ids(out) == ids()


def read_ids(out: Path) -> list[str]:
    match out.suffix:
        case ".json":
            return [each["id"] for each in json.loads(out.read_text())]
        case ".csv":
            with out.open(newline="") as stream:
                return [each["id"] for each in csv.DictReader(stream)]
        case ".parquet":
            return list(pq.read_table(out).column("id").to_pylist())
    return [each["id"] for each in lines(out)]


def test_csv_columns_are_mapped_and_bad_rows_come_out_with_a_reason(
    tmp_path: Path, mock: Mock
) -> None:
    file, out = tmp_path / "c.csv", tmp_path / "out.ndjson"
    file.write_text('No;E-mail;Name\n1;a@b.c;"A; B"\n2;nobody;C\n3;d@e.f\n')
    done = enrich(file, out, mock, "--map", "No=id", "--map", "E-mail=email")
    found = [(each["line"], each["id"], each["reason"], each["field"]) for each in lines(out)]
    assert found == [
        (2, "1", None, None), (3, "2", "invalid_value", "email"), (4, None, "wrong_columns", None),
    ]  # fmt: skip
    assert lines(out)[0]["contact"] == {"id": "1", "email": "a@b.c", "Name": "A; B"}
    assert done.status == 3


def test_an_empty_file_gives_an_empty_output(tmp_path: Path, mock: Mock) -> None:
    file, out = tmp_path / "c.ndjson", tmp_path / "out.json"
    file.write_text("")
    assert enrich(file, out, mock).status == 0
    assert json.loads(out.read_text()) == []


def test_a_file_that_is_cut_off_is_not_asked_for_and_not_kept(tmp_path: Path, mock: Mock) -> None:
    whole = gzip.compress(b"".join(contacts(COUNT, seed=1)))
    file, out = tmp_path / "c.ndjson.gz", tmp_path / "out.ndjson"
    file.write_bytes(whole[: len(whole) // 2])
    before = mock.stats()["calls"]
    assert enrich(file, out, mock).status == 1
    assert mock.stats()["calls"] == before
    assert [path.name for path in WorkFolder(out).path.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--out", "out.xml"),
        ("--out", "./contacts.ndjson"),
        ("--out", "s3://bucket"),
        ("--out", "gs://bucket/out.csv"),
        ("--out", "out.csv", "--map", "email"),
        ("--out", "out.csv", "--timeout", "soon"),
        ("--out", "out.csv", "--timeout", "0s"),
        ("--out", "out.csv", "--rate", "0/s"),
        ("--out", "out.csv", "--api", "ftp://example.com"),
    ],
)
def test_bad_usage_is_said_before_anything_is_done(
    arguments: tuple[str, ...], file: Path, mock: Mock
) -> None:
    api = () if "--api" in arguments else ("--api", mock.url)
    refused = lethe("enrich", file, *arguments, *api, cwd=file.parent)
    assert refused.status == 2
    assert list(file.parent.iterdir()) == [file]


def test_an_api_that_is_none_ends_the_run(file: Path, tmp_path: Path, mock: Mock) -> None:
    wrong = Mock(mock.url + "/elsewhere")
    refused = enrich(file, tmp_path / "out.ndjson", wrong)
    assert refused.status == 1
    assert "404" in refused.err
