"""Runs over HTTP: whose one may see, by pages, their logs, and an end to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from runners.runs import owner_here
from schemas.runs import RunEnd, RunRecord, RunStatus
from service.bootstrap import Wiring
from tests.integration.service.principals import ADMIN, OPERATOR, STRANGER, VIEWER, Client

NOW = datetime.now(UTC)
HERE = owner_here()


@pytest.fixture
def run(wiring: Wiring) -> RunRecord:
    """A queued run of org-1, with a log."""
    log = wiring.settings.state.folder / "runs" / "run-1.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("first line\nsecond line\n")
    record = RunRecord(
        "run-1", "enrich", RunStatus.QUEUED, HERE, NOW, NOW,
        organization="org-1", requested_by="user-1", log_path=str(log),
    )  # fmt: skip
    wiring.state.runs.add(record)
    return record


def body(asker: FlaskClient, path: str) -> Any:
    answer = asker.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_run_is_shown_as_it_is_shown_in_events(client: Client, run: RunRecord) -> None:
    shown = body(client(VIEWER), "/v1/runs/run-1")
    assert (shown["runId"], shown["kind"], shown["status"]) == ("run-1", "enrich", "queued")
    assert not {"owner", "pid", "logPath"} & set(shown)


def test_run_of_another_organization_is_not_there(client: Client, run: RunRecord) -> None:
    stranger = client(STRANGER)
    answers = [
        stranger.get("/v1/runs/run-1"),
        stranger.get("/v1/runs/run-1/log"),
        stranger.post("/v1/runs/run-1:cancel"),
        stranger.get("/v1/runs/run-2"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert body(stranger, "/v1/runs")["items"] == []


def test_runs_of_no_organization_are_for_those_who_see_all(client: Client, wiring: Wiring) -> None:
    wiring.state.runs.add(RunRecord("run-0", "deliver", RunStatus.QUEUED, HERE, NOW, NOW))
    assert client(OPERATOR).get("/v1/runs/run-0").status_code == 404
    assert client(ADMIN).get("/v1/runs/run-0").status_code == 200


def test_pages_follow_each_other_without_gap(client: Client, wiring: Wiring) -> None:
    names = add_runs(wiring, 7)
    seen, cursor = [], ""
    while cursor is not None:
        page = body(client(VIEWER), f"/v1/runs?limit=3{cursor and '&cursor=' + cursor}")
        seen += [item["runId"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert seen == names


def test_pages_stay_right_while_runs_are_added(client: Client, wiring: Wiring) -> None:
    names = add_runs(wiring, 4)
    first = body(client(VIEWER), "/v1/runs?limit=2")
    add_runs(wiring, 3, NOW + timedelta(hours=1), "later")
    second = body(client(VIEWER), f"/v1/runs?limit=2&cursor={first['nextCursor']}")
    assert [item["runId"] for item in first["items"] + second["items"]] == names


def test_offset_skips_items(client: Client, wiring: Wiring) -> None:
    names = add_runs(wiring, 5)
    page = body(client(VIEWER), "/v1/runs?limit=2&offset=1")
    assert [item["runId"] for item in page["items"]] == names[1:3]


def test_runs_are_found_by_status(client: Client, wiring: Wiring) -> None:
    names = add_runs(wiring, 3)
    wiring.state.runs.finish(names[1], RunEnd(RunStatus.FAILED, 1, "bad_input", "no such file"))
    [found] = body(client(VIEWER), "/v1/runs?status=failed")["items"]
    assert found["runId"] == names[1]
    assert found["error"] == {"code": "bad_input", "message": "no such file"}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "offset=-1", "cursor=x", "status=odd", "cursor=a&offset=1", "x=1"],
)
def test_query_that_makes_no_sense_is_refused(client: Client, query: str) -> None:
    assert client(VIEWER).get(f"/v1/runs?{query}").status_code == 422


def test_log_is_shown_from_its_end_and_whole_lines(client: Client, run: RunRecord) -> None:
    asker = client(VIEWER)
    assert asker.get("/v1/runs/run-1/log").text == "first line\nsecond line\n"
    assert asker.get("/v1/runs/run-1/log?bytes=15").text == "second line\n"
    assert asker.get("/v1/runs/run-1/log").mimetype == "text/plain"


@pytest.mark.parametrize("place", ["/etc/passwd", "{state}/../outside.log", "{state}/state.db"])
def test_no_other_file_is_shown_as_a_log(client: Client, wiring: Wiring, place: str) -> None:
    folder = wiring.settings.state.folder
    (folder.parent / "outside.log").write_text("secret")
    add_run_with_log(wiring, place.format(state=folder))
    assert client(ADMIN).get("/v1/runs/with-log/log").status_code == 404


def test_link_out_of_the_folder_is_not_followed(
    client: Client, wiring: Wiring, tmp_path: Path
) -> None:
    (tmp_path / "outside.log").write_text("secret")
    link = wiring.settings.state.folder / "link.log"
    link.symlink_to(tmp_path / "outside.log")
    add_run_with_log(wiring, str(link))
    assert client(ADMIN).get("/v1/runs/with-log/log").status_code == 404


def test_run_is_asked_to_end(client: Client, wiring: Wiring, run: RunRecord) -> None:
    answer = client(OPERATOR).post("/v1/runs/run-1:cancel")
    assert (answer.status_code, answer.json["cancelRequested"]) == (202, True)  # type: ignore[index]
    kept = wiring.state.runs.get("run-1")
    assert kept is not None
    assert kept.cancel_requested_at is not None


def test_run_that_has_ended_cannot_be_cancelled(
    client: Client, wiring: Wiring, run: RunRecord
) -> None:
    wiring.state.runs.finish("run-1", RunEnd(RunStatus.FAILED, 1))
    assert client(OPERATOR).post("/v1/runs/run-1:cancel").status_code == 409


def test_those_who_may_only_look_cannot_cancel(client: Client, run: RunRecord) -> None:
    assert client(VIEWER).post("/v1/runs/run-1:cancel").status_code == 403


def test_run_whose_process_is_gone_is_shown_as_lost(client: Client, wiring: Wiring) -> None:
    gone = replace(HERE, pid=2**22 - 1, started="1")
    wiring.state.runs.add(
        RunRecord("gone", "enrich", RunStatus.QUEUED, gone, NOW, NOW, organization="org-1")
    )
    assert body(client(VIEWER), "/v1/runs/gone")["status"] == "lost"


def add_runs(wiring: Wiring, count: int, since: datetime = NOW, name: str = "run") -> list[str]:
    """Their ids, newest first; two of each time."""
    for number in range(count):
        at = since + timedelta(seconds=number // 2)
        wiring.state.runs.add(
            RunRecord(
                f"{name}-{number}", "enrich", RunStatus.QUEUED, HERE, at, at, organization="org-1"
            )
        )
    return [f"{name}-{number}" for number in reversed(range(count))]


def add_run_with_log(wiring: Wiring, path: str) -> None:
    wiring.state.runs.add(
        RunRecord("with-log", "enrich", RunStatus.QUEUED, HERE, NOW, NOW, log_path=path)
    )
