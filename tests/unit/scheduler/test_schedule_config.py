"""``schedule.yaml`` is checked as a whole before anything is started."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from runners.scheduler.config import MissedRuns, Schedule, load_schedule
from schemas.errors import UsageError

JOB = {"cron": '"0 2 * * *"', "command": "[replay, --lake, lake]"}
NO_JOBS = "jobs: {}"


def load(tmp_path: Path, text: str) -> Schedule:
    file = tmp_path / "schedule.yaml"
    file.write_text(text)
    return load_schedule(file)


def load_job(tmp_path: Path, **fields: str) -> Schedule:
    lines = "".join(f"    {name}: {value}\n" for name, value in {**JOB, **fields}.items())
    return load(tmp_path, f"jobs:\n  nightly:\n{lines}")


def refusal(tmp_path: Path, **fields: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_job(tmp_path, **fields)
    return caught.value.message


def test_a_job_needs_a_cron_expression_and_a_command(tmp_path: Path) -> None:
    job = load_job(tmp_path).jobs["nightly"]
    assert (job.cron, job.command) == ("0 2 * * *", ("replay", "--lake", "lake"))
    assert (job.missed, job.attempts, job.timezone) == (MissedRuns.ONCE, 1, None)


def test_all_can_be_said(tmp_path: Path) -> None:
    schedule = load_job(tmp_path, timezone="Asia/Tokyo", missed="skip", attempts="4", delay="2m")
    job = schedule.jobs["nightly"]
    assert job.timezone is not None
    assert (job.timezone.key, job.missed, job.attempts) == ("Asia/Tokyo", MissedRuns.SKIP, 4)
    assert job.delay == timedelta(minutes=2)


def test_numbers_may_be_words_of_a_command(tmp_path: Path) -> None:
    command = "[deliver, in, --lake, lake, --workers, 2]"
    assert load_job(tmp_path, command=command).jobs["nightly"].command[-1] == "2"


def test_a_change_of_leader_makes_no_run_late(tmp_path: Path) -> None:
    schedule = load(
        tmp_path, "lease: 10m\n" + "jobs:\n  a: {cron: '* * * * *', command: [log, --lake, l]}"
    )
    assert schedule.late_after > schedule.lease


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("cron", "'61 * * * *'", "jobs.nightly.cron: '61 * * * *' is no cron expression"),
        ("cron", "'0 0 30 2 *'", "jobs.nightly.cron: '0 0 30 2 *' is no cron expression"),
        ("cron", "hourly", "jobs.nightly.cron: "),
        ("timezone", "Mars/Olympus", "jobs.nightly.timezone: 'Mars/Olympus' is no time zone"),
        ("timezone", "../etc", "jobs.nightly.timezone: "),
        ("missed", "twice", "jobs.nightly.missed: "),
        ("attempts", "0", "jobs.nightly.attempts: "),
        ("delay", "soon", "jobs.nightly.delay: 'soon' is no length of time"),
        ("every", "5m", "jobs.nightly.every: "),
        ("command", "[]", "jobs.nightly.command: "),
        ("command", "deliver", "jobs.nightly.command: "),
        ("command", "[delver, in]", "jobs.nightly.command: no command 'delver': choose one of"),
        ("command", "[schedule, run]", "jobs.nightly.command: no command 'schedule'"),
        ("command", "[runs, list]", "jobs.nightly.command: no command 'runs'"),
        ("command", "[replay, --lakes, l]", "No such option: --lakes"),
        ("command", "[replay]", "Missing option '--lake'"),
        ("command", "[schemas, drif, --lake, l]", "No such command 'drif'"),
        ("command", "[deliver, in, --lake, l, --workers, many]", "Invalid value for '--workers'"),
        ("command", "[schemas]", "lethe schemas: name one of its commands"),
        ("command", "[replay, --help]", "asks for help only"),
    ],
)
def test_a_bad_value_is_refused_with_its_file_and_field(
    tmp_path: Path, field: str, value: str, said: str
) -> None:
    message = refusal(tmp_path, **{field: value})
    assert message.startswith(f"{tmp_path / 'schedule.yaml'}: ")
    assert said in message


def test_asking_for_help_in_a_job_prints_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal(tmp_path, command="[replay, --help]")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NO_JOBS, "jobs: "),
        ("", "the file: "),
        ("job: {}", "job: "),
        ("name: two words\n" + NO_JOBS, "name: "),
        ("jobs: [", "line 1"),
        ("jobs:\n  a: {cron: x}\n  a: {cron: y}", "'a' is there twice"),
        ("jobs:\n  'a b': {cron: '* * * * *', command: [log]}", "jobs.a b"),
        ("jobs: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("? [a, b]\n: c", "not YAML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"schedule\.yaml") as caught:
        load(tmp_path, text)
    assert said in caught.value.message


def test_all_bad_fields_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, attempts="0", missed="twice")
    assert "jobs.nightly.attempts" in message
    assert "jobs.nightly.missed" in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_schedule(tmp_path / "nowhere.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        load_schedule(tmp_path / "a.yaml")
