"""``lethe deliver`` as a command: what it delivers, says and leaves, and how it ends."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.e2e.harness import (
    EXAMPLES,
    Lake,
    balanced,
    deliver,
    environment,
    everything,
    generated,
    lethe,
    outcome,
    start,
)
from tests.emulators import ACCESS_KEY, SECRET_KEY, moto_url
from tests.faults import FaultProxy, Refuse
from tests.waiting import wait_until

__all__ = ["moto_url"]  # a fixture: pytest finds it here

CHANGES = EXAMPLES / "kinesis-records.ndjson"
BROKEN = EXAMPLES / "with-broken-records.ndjson"
LINES = CHANGES.read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("hostile") / "h.ndjson", 2_000, hostile=0.05, days=3)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def test_one_input_named_twice_is_delivered_once(lake: Path) -> None:
    done = deliver(lake, CHANGES, EXAMPLES / "./kinesis-records.ndjson", EXAMPLES / "kinesis-*")
    assert (done.status, done.report["read"], done.report["inputs"]) == (0, 10, 1)
    assert len(set(Lake.at(lake).changes())) == len(Lake.at(lake).changes()) == 10


def test_one_input_in_two_calls_is_delivered_once(lake: Path) -> None:
    deliver(lake, CHANGES)
    before = everything(lake)
    again = deliver(lake, CHANGES)
    assert (again.status, again.report["commit"], again.report["skipped"]) == (0, None, 1)
    assert everything(lake) == before


def test_of_a_grown_file_only_the_new_part_is_delivered(lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "grows.ndjson"
    file.write_bytes(b"".join(LINES[:6]))
    deliver(lake, file)
    file.write_bytes(b"".join(LINES))
    again = deliver(lake, file)
    assert (again.report["read"], again.report["delivered"]) == (4, 4)
    assert len(set(Lake.at(lake).changes())) == len(Lake.at(lake).changes()) == 10


def test_a_half_line_is_a_dead_letter_first_and_delivered_when_it_is_whole(
    lake: Path, tmp_path: Path
) -> None:
    file = tmp_path / "grows.ndjson"
    file.write_bytes(b"".join(LINES[:3]) + LINES[3][:200])
    first = deliver(lake, file)
    file.write_bytes(b"".join(LINES))
    second = deliver(lake, file)
    assert first.report["by_error"] == {"truncated_record": 1}
    assert (second.report["read"], second.report["delivered"]) == (7, 7)
    assert len(set(Lake.at(lake).changes())) == len(Lake.at(lake).changes()) == 10


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_last_line_without_a_newline_is_delivered_once_when_the_file_grows(
    lake: Path, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "grows.json"
    head = b"".join(LINES[:4])
    file.write_bytes(compress(head[:-1]))
    first = deliver(lake, file)
    file.write_bytes(compress(head[:-1]) + compress(b"\n" + b"".join(LINES[4:])))
    second = deliver(lake, file)
    assert (first.report["delivered"], second.report["delivered"]) == (4, 6)
    assert len(set(Lake.at(lake).changes())) == len(Lake.at(lake).changes()) == 10


def test_a_gzip_file_that_grew_by_a_member_is_read_from_there(lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "grows.ndjson.gz"
    file.write_bytes(gzip.compress(b"".join(LINES[:6])))
    deliver(lake, file)
    with file.open("ab") as more:
        more.write(gzip.compress(b"".join(LINES[6:])))
    assert deliver(lake, file).report["delivered"] == 4
    assert len(set(Lake.at(lake).changes())) == 10


def test_a_changed_file_is_an_error_and_nothing_is_delivered(lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "changes.ndjson"
    file.write_bytes(b"".join(LINES[:6]))
    deliver(lake, file)
    before = everything(lake)
    file.write_bytes(b"".join(LINES[2:]))
    done = deliver(lake, file, CHANGES)
    assert (done.status, everything(lake) == before) == (1, True)
    assert f"{file}: changed before byte" in done.err


def test_a_file_that_was_only_touched_is_not_delivered_again(lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "touched.ndjson"
    shutil.copy(CHANGES, file)
    deliver(lake, file)
    os.utime(file, (1, 1))
    assert deliver(lake, file).report["commit"] is None


def test_of_a_folder_only_the_new_file_is_delivered(lake: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.ndjson").write_bytes(b"".join(LINES[:6]))
    deliver(lake, folder)
    (folder / "2.ndjson").write_bytes(b"".join(LINES[6:]))
    again = deliver(lake, folder)
    assert (again.report["inputs"], again.report["skipped"], again.report["read"]) == (1, 1, 4)


def test_late_data_makes_a_new_file_and_changes_no_old_one(lake: Path, tmp_path: Path) -> None:
    early, late = (generated(tmp_path / f"{n}.ndjson", 200, seed=n, days=1) for n in (1, 2))
    deliver(lake, early)
    before = everything(lake)
    deliver(lake, late)
    after = everything(lake)
    assert {name: after[name] for name in before} == before
    assert {Path(name).parent for name in after.keys() - before.keys()} & {
        Path(name).parent for name in before if name.endswith(".parquet")
    }


COUNTS = ("read", "delivered", "dead_letters", "filtered", "by_type", "by_date", "by_error")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dry_run_counts_what_the_delivery_will_and_writes_nothing(
    hostile: Path, lake: Path, workers: int
) -> None:
    dry = deliver(lake, hostile, CHANGES, "--dry-run", workers=workers)
    written = lake.exists()
    real = deliver(lake, hostile, CHANGES, workers=workers)
    assert not written
    assert {name: dry.report[name] for name in COUNTS} == {n: real.report[n] for n in COUNTS}
    assert (dry.report["dry_run"], dry.report["commit"], dry.report["files"]) == (True, None, 0)


def test_a_dry_run_on_a_lake_touches_nothing(hostile: Path, lake: Path) -> None:
    deliver(lake, CHANGES)
    before = Lake.at(lake).snapshot()
    assert deliver(lake, hostile, CHANGES, "--dry-run").report["skipped"] == 1
    assert Lake.at(lake).snapshot() == before


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--types", "sale,demand"),
        ("--events", "remove"),
        ("--since", "2026-01-02"),
        ("--until", "2026-01-02T12:00:00Z", "--types", "event"),
        ("--types", "sale", "--events", "REMOVE", "--since", "2027-01-01"),
        ("--unknown-fields", "reject"),
    ],
)
def test_every_record_is_delivered_or_a_dead_letter_or_filtered(
    hostile: Path, lake: Path, options: tuple[str, ...]
) -> None:
    report = deliver(lake, hostile, CHANGES, *options).report
    assert report["read"] == 2_010
    assert balanced(report)
    assert report["delivered"] == len(Lake.at(lake).changes())
    assert report["dead_letters"] == len(Lake.at(lake).letters())


def test_the_report_says_what_lies_in_the_lake(hostile: Path, lake: Path) -> None:
    report = deliver(lake, hostile, CHANGES).report
    files = list(lake.rglob("*.parquet"))
    rows = Lake.at(lake).rows()
    assert report["by_type"] == {name: len(table) for name, table in rows.items()}
    assert sum(report["by_date"].values()) == report["delivered"]
    assert (report["files"], report["bytes"]) == (
        len(files),
        sum(path.stat().st_size for path in files),
    )
    assert report["input_bytes"] == hostile.stat().st_size + CHANGES.stat().st_size
    assert (report["commit"], report["dry_run"], report["inputs"]) == (1, False, 2)
    assert report["records_per_second"] == pytest.approx(
        report["read"] / report["seconds"], rel=0.01
    )


def test_one_worker_and_two_give_equal_lakes(hostile: Path, tmp_path: Path) -> None:
    lakes = []
    for workers in (1, 2):
        lake = tmp_path / f"lake{workers}"
        deliver(lake, hostile, CHANGES, BROKEN, workers=workers)
        lakes.append(Lake.at(lake))
    one, two = lakes
    assert one.rows() == two.rows()
    assert [letter["id"] for letter in one.letters()] == [letter["id"] for letter in two.letters()]


def test_windows_divide_a_date_into_files(hostile: Path, lake: Path) -> None:
    deliver(lake, hostile, "--window", "6h", "--types", "demand")
    (commit,) = Lake.at(lake).commits()
    for file in (file for file in commit.files if not file.partition.is_errors):
        assert file.earliest is not None
        assert file.latest is not None
        assert file.earliest // 21_600_000_000 == file.latest // 21_600_000_000
    assert len(commit.files) > 8


def test_a_file_is_rotated_by_rows(hostile: Path, lake: Path) -> None:
    deliver(lake, hostile, "--rotate-rows", 50, "--types", "demand")
    rows = [f.rows for f in Lake.at(lake).commits()[0].files if not f.partition.is_errors]
    assert (max(rows), sum(rows)) == (50, len(Lake.at(lake).changes()))


def test_a_file_is_rotated_by_bytes(tmp_path: Path, lake: Path) -> None:
    many = generated(tmp_path / "many.ndjson", 20_000, days=1)
    deliver(lake, many, "--rotate-bytes", 200_000, "--types", "demand")
    sizes = sorted(file.staged.size for file in Lake.at(lake).commits()[0].files)
    assert len(sizes) > 3
    assert sizes[-1] < 500_000
    assert len(set(Lake.at(lake).changes())) == len(Lake.at(lake).changes()) > 7_000


def test_the_zone_of_partition_dates_moves_a_row_near_midnight(tmp_path: Path) -> None:
    file = tmp_path / "night.ndjson"
    file.write_bytes(_at(LINES[0], b"2026-01-05T23:30:00.000Z"))
    dates = []
    for zone in ("UTC", "Europe/Lisbon", "Asia/Tokyo", "America/New_York"):
        lake = tmp_path / zone.replace("/", "-")
        dates += deliver(lake, file, "--partition-timezone", zone).report["by_date"]
    assert dates == ["2026-01-05", "2026-01-05", "2026-01-06", "2026-01-05"]


def _at(line: bytes, moment: bytes) -> bytes:
    start = line.index(b'"updatedAt":{"S":"') + len(b'"updatedAt":{"S":"')
    return line[:start] + moment + line[line.index(b'"', start) :]


def test_avro_files_hold_the_rows_that_parquet_files_hold(hostile: Path, tmp_path: Path) -> None:
    avro, parquet = tmp_path / "avro", tmp_path / "parquet"
    deliver(avro, hostile, "--format", "avro", "--codec", "deflate")
    deliver(parquet, hostile)
    ids = []
    for path in avro.rglob("*.avro"):
        with path.open("rb") as stream:
            ids += [row["change_id"] for row in fastavro.reader(stream)]
    assert sorted(ids) == Lake.at(parquet).changes()


@pytest.mark.parametrize(("rate", "status"), [("0.05", 3), ("0.25", 0), ("1", 0)])
def test_too_many_dead_letters_end_with_status_3_after_the_commit(
    lake: Path, rate: str, status: int
) -> None:
    done = deliver(lake, BROKEN, "--max-error-rate", rate)
    assert (done.status, done.report["commit"], done.report["dead_letters"]) == (status, 1, 2)
    assert ("more than --max-error-rate" in done.err) == (status == 3)
    assert len(Lake.at(lake).changes()) == 6


@pytest.mark.parametrize("workers", [1, 2])
def test_every_picks_up_a_new_file_and_sigterm_ends_it_with_status_0(
    lake: Path, tmp_path: Path, workers: int
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.ndjson").write_bytes(b"".join(LINES[:6]))
    (folder / "0.ndjson").write_bytes(LINES[6])
    process = start(
        "deliver",
        folder,
        "--lake",
        lake,
        "--workers",
        workers,
        "--every",
        "1s",
        start_new_session=True,
    )
    wait_until(lambda: len(Lake.at(lake).changes()) == 7)
    (folder / "2.ndjson").write_bytes(b"".join(LINES[7:]))
    (folder / "3.ndjson").write_bytes(b"")
    wait_until(lambda: len(Lake.at(lake).changes()) == 10)
    os.killpg(process.pid, signal.SIGTERM)
    assert outcome(process).status == 0
    assert Lake.at(lake).leftovers() == []


def test_rounds_wait_for_an_input_that_has_not_come_yet(lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "comes-later.ndjson"
    process = start("deliver", file, "--lake", lake, "--workers", 1, "--every", "1s")
    wait_until((lake / "_lethe").exists)
    file.write_bytes(b"".join(LINES))
    wait_until(lambda: len(Lake.at(lake).changes()) == 10)
    process.send_signal(signal.SIGTERM)
    done = outcome(process)
    assert (done.status, '"code": "input_missing"' in done.err) == (0, True)


def test_sigterm_to_all_processes_in_the_middle_of_a_round_lets_the_round_end(
    lake: Path, tmp_path: Path
) -> None:
    paths = [generated(tmp_path / f"{n}.ndjson", 20_000, seed=n) for n in (1, 2)]
    arguments = ("deliver", *paths, "--lake", lake, "--workers", 2, "--every", "1h")
    process = start(*arguments, start_new_session=True)
    wait_until(lambda: len(workers_of(process.pid)) == 2)
    os.killpg(process.pid, signal.SIGTERM)
    assert outcome(process).status == 0
    assert (len(Lake.at(lake).changes()), Lake.at(lake).leftovers()) == (40_000, [])


def refused(*arguments: object, status: int, said: str, **more: Any) -> None:
    done = lethe("deliver", *arguments, **more)
    assert (done.status, said in done.err) == (status, True), done.err
    assert "error" in done.err.lower()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--no-such-option",), "No such option"),
        (("--format", "orc"), "unknown format 'orc': choose parquet or avro"),
        (("--codec", "lz4"), "parquet has no codec 'lz4'"),
        (("--format", "avro", "--codec", "zstd"), "avro has no codec 'zstd'"),
        (("--types", "coupon"), "no schema for coupon"),
        (("--events", "UPSERT"), "choose among INSERT, MODIFY and REMOVE"),
        (("--since", "yesterday"), "write a time as"),
        (("--until", "2026-13-01"), "write a time as"),
        (("--window", "0s"), "write a length of time as"),
        (("--every", "often"), "write a length of time as"),
        (("--workers", "0"), "--workers"),
        (("--rotate-rows", "0"), "--rotate-rows"),
        (("--max-error-rate", "2"), "--max-error-rate"),
        (("--unknown-fields", "ignore"), "choose keep, discard or reject"),
        (("--partition-timezone", "Mars/Olympus"), "no such time zone"),
        (("--schemas", "/no/such/folder"), "no such folder"),
    ],
)
def test_a_bad_option_is_named_and_nothing_is_done(
    lake: Path, options: tuple[str, ...], said: str
) -> None:
    refused(CHANGES, "--lake", lake, *options, status=2, said=said)
    assert not lake.exists()


def test_a_broken_schema_is_named(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "coupon.avsc").write_text('{"type": "record", ')
    refused(CHANGES, "--lake", lake, "--schemas", tmp_path, status=2, said="coupon.avsc")
    assert not lake.exists()


def test_a_missing_scrub_key_is_named(lake: Path) -> None:
    refused(
        CHANGES,
        "--lake",
        lake,
        env={"LETHE_SCRUB_KEY": "", "LETHE_PARAMETERS__SOURCE": "env"},
        status=2,
        said="LETHE_SCRUB_KEY",
    )


def test_a_missing_input_is_named_and_the_others_are_not_delivered(lake: Path) -> None:
    refused(CHANGES, "no-such-file", "--lake", lake, status=1, said="no-such-file: no such file")
    assert Lake.at(lake).snapshot() == {}


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("below", ["", "/lake", "/a/lake"])
def test_a_lake_that_is_no_folder_is_named(
    tmp_path: Path, below: str, options: tuple[str, ...]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    refused(CHANGES, "--lake", f"{file}{below}", *options, status=1, said=str(file))
    assert file.read_text() == "mine"


@pytest.mark.parametrize("lake", ["ftp://host/lake", "s3://", "file://host/lake"])
def test_a_lake_that_is_no_place_is_named(lake: str) -> None:
    refused(CHANGES, "--lake", lake, status=2, said=lake)


def s3(url: str) -> dict[str, str]:
    return {
        "LETHE_S3__ENDPOINT_URL": url,
        "LETHE_S3__REGION": "us-east-1",
        "LETHE_S3__ACCESS_KEY": ACCESS_KEY,
        "LETHE_S3__SECRET_KEY": SECRET_KEY,
    }


def test_a_missing_bucket_is_named(moto_url: str, lake: Path) -> None:
    said, missing = "bucket no-such-bucket does not exist", "s3://no-such-bucket/x"
    refused(CHANGES, "--lake", missing, env=s3(moto_url), status=1, said=said)
    refused(missing, "--lake", lake, env=s3(moto_url), status=1, said=said)
    refused(CHANGES, "--lake", missing, "--dry-run", env=s3(moto_url), status=1, said=said)


def test_a_closed_endpoint_is_named() -> None:
    said = "http://127.0.0.1:9 gave no whole answer"
    refused(CHANGES, "--lake", "s3://a/b", env=s3("http://127.0.0.1:9"), status=1, said=said)


def test_wrong_credentials_are_named_without_being_shown(moto_url: str) -> None:
    with FaultProxy(moto_url) as proxy:
        proxy.inject(Refuse(403, "InvalidAccessKeyId"), times=100)
        said = "the store answered InvalidAccessKeyId: check the credentials"
        refused(CHANGES, "--lake", "s3://bucket/lake", env=s3(proxy.url), status=1, said=said)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("limit", [8, 1_000, 60_000])
def test_a_file_system_that_takes_no_more_is_named_and_nothing_is_left(
    hostile: Path, lake: Path, workers: int, limit: int
) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    arguments = (hostile, CHANGES, "--lake", lake, "--workers", workers)
    refused(*arguments, preexec_fn=limited, status=1, said="File too large")
    assert (Lake.at(lake).files(), Lake.at(lake).leftovers()) == ([], [])
    assert deliver(lake, hostile, CHANGES).status == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of an eighth of a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_named_and_nothing_is_left(
    hostile: Path, small_disk: Path, workers: int
) -> None:
    lake = Lake.at(small_disk / "lake")
    arguments = (hostile, CHANGES, "--lake", small_disk / "lake", "--workers", workers)
    refused(*arguments, status=1, said="No space left on device")
    assert (lake.files(), lake.letters(), lake.leftovers()) == ([], [], [])
    assert deliver(small_disk / "lake", CHANGES).status == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_is_full_already_is_named_and_nothing_is_touched(
    small_disk: Path, workers: int
) -> None:
    (small_disk / "theirs").write_bytes(bytes(128 * 1024))
    said = "No space left on device"
    refused(CHANGES, "--lake", small_disk / "lake", "--workers", workers, status=1, said=said)
    assert Lake.at(small_disk / "lake").snapshot() == {}


def test_a_report_that_cannot_be_written_is_named(lake: Path, tmp_path: Path) -> None:
    said = "the report cannot be written"
    refused(CHANGES, "--lake", lake, "--report", tmp_path / "no" / "r.json", status=1, said=said)


def test_a_worker_that_is_killed_ends_the_run_and_the_next_is_clean(
    lake: Path, tmp_path: Path
) -> None:
    paths = [generated(tmp_path / f"{n}.ndjson", 20_000, seed=n) for n in (1, 2)]
    process = start("deliver", *paths, "--lake", lake, "--workers", 2)
    wait_until(lambda: len(workers_of(process.pid)) == 2)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    done = outcome(process)
    assert (done.status, "a worker process ended by signal 9" in done.err) == (1, True)
    assert deliver(lake, *paths).report["delivered"] == 40_000
    assert (len(set(Lake.at(lake).changes())), Lake.at(lake).leftovers()) == (40_000, [])


def test_the_forking_process_being_killed_ends_the_run(lake: Path, tmp_path: Path) -> None:
    paths = [generated(tmp_path / f"{n}.ndjson", 20_000, seed=n) for n in (1, 2)]
    process = start("deliver", *paths, "--lake", lake, "--workers", 2)
    wait_until(lambda: len(workers_of(process.pid)) == 2)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    done = outcome(process)
    assert (done.status, "a worker process ended by signal 9" in done.err) == (1, True)


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def workers_of(pid: int) -> list[int]:
    """The grandchildren: one process forks them all."""
    return [worker for forks in children(pid) for worker in children(forks)]


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Programs that are started take SIGINT, also where a shell in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_is_said_and_leaves_nothing(
    lake: Path, tmp_path: Path, workers: int, heeds_interrupts: None
) -> None:
    paths = [generated(tmp_path / f"{n}.ndjson", 20_000, seed=n) for n in (1, 2)]
    process = start("deliver", *paths, "--lake", lake, "--workers", workers, start_new_session=True)
    wait_until((lake / "_lethe" / "work").exists)
    os.killpg(process.pid, signal.SIGINT)
    done = outcome(process)
    assert (done.status, "interrupted" in done.err) == (130, True)
    assert (Lake.at(lake).files(), Lake.at(lake).leftovers()) == ([], [])


BARRIER = """
import sys
from pathlib import Path
import runners.deliver as module

planned = module.plan_delivery
me, other = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))

def plan_and_wait(*arguments):
    plan = planned(*arguments)
    me.touch()
    while not other.exists():
        pass
    return plan

module.plan_delivery = plan_and_wait
from runners.cli import main
main()
"""
"""The command, which goes on from its plan when another one has a plan too."""


def at_once(folder: Path, lake: Path, *inputs: tuple[Path, ...]) -> list[Any]:
    """How two deliveries end that plan at the same time."""
    flags = [folder / "first", folder / "second"]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                BARRIER,
                *mine,
                "deliver",
                *paths,
                "--lake",
                lake,
                "--workers",
                "1",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for mine, paths in zip((flags, flags[::-1]), inputs, strict=True)
    ]
    return [outcome(process) for process in processes]


def test_of_two_deliveries_of_one_input_at_once_one_commits_and_the_other_says_so(
    lake: Path, tmp_path: Path
) -> None:
    ends = at_once(tmp_path, lake, (CHANGES,), (CHANGES,))
    assert sorted(end.status for end in ends) == [0, 1]
    assert "another delivery committed this as number 1" in "".join(end.err for end in ends)
    assert len(Lake.at(lake).changes()) == 10
    assert ([c.number for c in Lake.at(lake).commits()], Lake.at(lake).leftovers()) == ([1], [])


def test_two_deliveries_of_different_inputs_at_once_both_commit(lake: Path, tmp_path: Path) -> None:
    ends = at_once(tmp_path, lake, (CHANGES,), (EXAMPLES / "lambda-dynamodb-event.json",))
    assert [end.status for end in ends] == [0, 0]
    assert (len(Lake.at(lake).changes()), len(Lake.at(lake).commits())) == (17, 2)
    assert Lake.at(lake).leftovers() == []
