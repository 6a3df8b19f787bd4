"""``lethe enrich --suppressed-by``: contacts of erased subjects are not sent, whatever the file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stores.objects import LocalObjectStore
from tests.e2e.harness import SCRUB_KEY, Outcome, lethe
from tests.mock_api import Mock, running_mock
from tests.suppressing import suppress

COUNT = 40
ERASED = 17
Contact = dict[str, str]


def contact(number: int) -> Contact:
    return {"id": f"c-{number}", "email": f"person{number}@acme.example"}


def as_lines(contacts: list[Contact]) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in contacts).encode()


def as_table(contacts: list[Contact]) -> bytes:
    return "".join(f"{each['id']},{each['email']}\n" for each in contacts).encode()


FILES: dict[str, Callable[[list[Contact]], bytes]] = {
    "c.ndjson": as_lines,
    "c.csv": lambda contacts: b"id,email\n" + as_table(contacts),
    "quoted.csv": lambda contacts: b'id,"email"\n' + as_table(contacts),
    "c.json": lambda contacts: json.dumps(contacts).encode(),
    "c.ndjson.gz": lambda contacts: gzip.compress(as_lines(contacts)),
}


@pytest.fixture
def mock() -> Iterator[Mock]:
    with running_mock(latency=0.0) as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    erase(tmp_path / "lake", ERASED)
    return tmp_path / "lake"


def erase(lake: Path, number: int) -> None:
    suppress(LocalObjectStore(lake), SCRUB_KEY, contact(number)["email"])


def enrich(file: Path, lake: Path, mock: Mock, *more: object) -> Outcome:
    sizes = ("--batch-size", 5, "--concurrency", 1)
    out = file.with_name("out.ndjson")
    return lethe(
        "enrich", file, "--out", out, "--api", mock.url, "--suppressed-by", lake, *sizes, *more
    )


def left_out(file: Path) -> list[int]:
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in file.with_name("out.ndjson").read_text().splitlines()
    ]
    assert len(rows) == COUNT
    gone = [number for number, row in enumerate(rows) if row["reason"] == "suppressed"]
    assert all(rows[n]["id"] is rows[n]["contact"] is rows[n]["enrichment"] is None for n in gone)
    return gone


@pytest.mark.parametrize("name", FILES)
def test_a_contact_of_an_erased_subject_is_not_sent(
    name: str, tmp_path: Path, lake: Path, mock: Mock
) -> None:
    file = tmp_path / name
    file.write_bytes(FILES[name]([contact(n) for n in range(COUNT)]))
    done = enrich(file, lake, mock)
    assert done.status == 0, done.err
    assert left_out(file) == [ERASED]
    assert mock.stats()["contacts"] == COUNT - 1


@pytest.mark.parametrize("name", ["c.ndjson", "c.json"])
def test_who_was_erased_since_a_run_began_is_not_sent_when_it_is_gone_on_with(
    name: str, tmp_path: Path, lake: Path, mock: Mock
) -> None:
    file = tmp_path / name
    file.write_bytes(FILES[name]([contact(n) for n in range(COUNT)]))
    mock.set(outage=True)
    assert enrich(file, lake, mock, "--patience", "0.2s").status == 1
    mock.set(outage=False)
    erase(lake, 30)
    done = enrich(file, lake, mock, "--resume")
    assert done.status == 0, done.err
    assert left_out(file) == [ERASED, 30]
    assert mock.stats()["contacts"] == COUNT - 2


def test_a_run_that_leaves_contacts_out_is_not_gone_on_with_without_that(
    tmp_path: Path, lake: Path, mock: Mock
) -> None:
    file = tmp_path / "c.ndjson"
    file.write_bytes(as_lines([contact(n) for n in range(COUNT)]))
    mock.set(outage=True)
    enrich(file, lake, mock, "--patience", "0.2s")
    out = file.with_name("out.ndjson")
    refused = lethe("enrich", file, "--out", out, "--api", mock.url, "--batch-size", 5, "--resume")
    assert refused.status == 2
    assert "changed: --suppressed-by" in refused.err
