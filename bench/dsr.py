"""The benchmark of data subject requests: submitting, looking up, and a rate held for minutes.

    python -m bench.dsr [--requests N] [--sustained S] [--seconds S] [--rate N] [--workers W]

A real service, with its defaults but for limits and risk, which count and never refuse; a real mock
processor, SQLite, and real tokens. Each phase has a service of its own.

1. Submissions by a timetable of ``rate`` a minute for ``seconds``, to a processor that answers at
   once and to one that takes 200 ms. ``answer`` is what whoever submits waits for; ``forwarded`` is
   from then until the processor has the request and that is written down, without its 200 ms.
2. Looking up among ``requests``: in the database, by this process, and over HTTP.
3. What is checked of a callback, in this process.
4. ``sustained`` seconds of submissions at the same rate, while deliveries of a million change
   records run one after another beside it. 0 leaves it out.

Latencies are counted from when a request was due. Prints a Markdown table, with what was asked of
the 95th percentile, and writes ``bench/results/dsr.json``. Ends with status 1 if a request failed,
was not forwarded, or forwarded twice, or if a delivery failed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Annotated

import structlog
import typer

from bench.callbacks import checks
from bench.contenders import environment
from bench.deliver import DATA, RESULTS, SEED
from bench.dsr_store import ORGANIZATION, Many, fill, now
from bench.http_load import Ask, Client, Reply, by_timetable
from bench.report import document
from config.settings import load_settings
from runners.generate import FileFormat, changes
from runners.generate.output import write_file
from runners.progress import beside
from runners.runs import state_of
from schemas.access import Reach
from schemas.dsr import Dsr, DsrCursor, DsrQuery, DsrStatus, Identity, IdentityType
from stores.parameters import open_parameters
from stores.state.service_port import Stores
from stores.state.sql import open_state
from stores.subjects import Subjects
from tests.mock_processor import RunningProcessor, running_processor
from tests.service_process import Service, running_service, service_environment

RECORDS = 1_000_000
"""Change records of each delivery that runs beside."""

LATENCY = 0.2
"""Seconds that the slower one of the processors takes."""

WARM_UP = 2.0
"""Seconds of requests before those that are measured."""

ANSWER, DATABASE, CERTIFICATE = 50.0, 10.0, 20.0
"""Milliseconds that the 95th percentile is asked to stay under."""

_EVERYWHERE, _OURS = Reach(None), Reach(ORGANIZATION)
_LOOK_UPS = 1000
_CHECKS = 1000
_SETTLES_WITHIN = 120.0
_PAGE = 1000


@dataclass(frozen=True)
class Figure:
    """The latencies of one thing, in milliseconds; ``asked`` is of ``p95``."""

    name: str
    count: int
    p50: float
    p95: float
    p99: float
    asked: float | None = None
    errors: int = 0

    @staticmethod
    def of(
        name: str, times: Sequence[float], asked: float | None = None, errors: int = 0
    ) -> Figure:
        cuts = quantiles(times, n=100, method="inclusive")
        return Figure(name, len(times), cuts[49], cuts[94], cuts[98], asked, errors)


@dataclass
class Report:
    """What was found; ``failures`` says what went wrong."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Load:
    """How many requests a minute, by how many workers, for how long."""

    rate: float
    workers: int
    seconds: float


def main(
    requests: Annotated[int, typer.Option(min=1000, help="To look up among.")] = 1_000_000,
    sustained: Annotated[float, typer.Option(min=0, help="Seconds.")] = 300.0,
    seconds: Annotated[float, typer.Option(min=5, help="Of each other phase.")] = 30.0,
    rate: Annotated[float, typer.Option(min=60, help="Requests a minute.")] = 1000.0,
    workers: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Measure and report."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    report, before = Report(), os.getloadavg()
    load = Load(rate, workers, seconds)
    for latency in (0.0, LATENCY):
        submissions(report, load, latency)
    look_ups(report, load, requests)
    certificate(report)
    if sustained:
        beside_a_delivery(report, Load(rate, workers, sustained))
    print(table(report))
    print(f"\nLoad of the machine, a minute's mean, before it began: {before[0]:.1f}")
    write_results(report, before)
    sys.exit(bool(report.failures))


# --- submitting


def submissions(report: Report, load: Load, latency: float) -> None:
    """To a processor that takes so many seconds."""
    told(f"submissions, processor at {latency * 1000:.0f} ms")
    with stage(load.workers, latency) as (service, processor):
        replies = submitted(service, load)
        note_replies(report, f"submission, answer, processor at {latency * 1000:.0f} ms", replies)
        note_forwarding(report, service, processor, latency, "")


@contextmanager
def stage(workers: int, latency: float) -> Iterator[tuple[Service, RunningProcessor]]:
    """A processor, and a service that forwards to it."""
    with (
        running_processor(latency=latency, step=None) as processor,
        tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder,
        running_service(
            Path(folder), "--workers", workers, env=settings(processor.specification_url)
        ) as service,
    ):
        yield service, processor


def settings(url: str | None) -> dict[str, str]:
    """Variables of a service whose limits refuse nobody."""
    limits = dict.fromkeys(("ADDRESS", "PRINCIPAL", "EVERYTHING"), "9000000/m")
    region = {"name": "here", "url": url}
    one = {"dialect": "opendsr-2.0", "regions": [region], "requests_per_minute": 1_000_000}
    a_day = ("subject_per_day", "submitter_per_day", "source_per_day")
    return {
        "LETHE_ENV": "test",
        "LETHE_LOG_LEVEL": "INFO",
        "LETHE_PROCESSORS": json.dumps({} if url is None else {"bench": one}),
        "LETHE_DSR": json.dumps({"risk": dict.fromkeys(a_day, 10**9)}),
        **{f"LETHE_SERVICE__LIMITS__{name}": limit for name, limit in limits.items()},
    }


def submitted(service: Service, load: Load) -> list[Reply]:
    """New requests, each of another subject, by the timetable."""
    token, numbers = service.token("privacy", organization=ORGANIZATION), itertools.count()

    def asks(_: int) -> Ask:
        return new_request(next(numbers))

    asked(service, token, Load(load.rate, load.workers, WARM_UP), asks)
    return asked(service, token, load, asks)


def new_request(number: int) -> Ask:
    body = {"type": "gdpr_delete", "email": f"new-{number}@example.com"}
    return Ask("submission", "POST", "/v1/dsr", 202, json.dumps(body).encode())


def asked(service: Service, token: str, load: Load, asks: Callable[[int], Ask]) -> list[Reply]:
    async def send() -> list[Reply]:
        with closing(Client(service.port, token)) as client:
            return await by_timetable(client, asks, load.rate, load.seconds)

    return asyncio.run(send())


def note_replies(
    report: Report, name: str, replies: Sequence[Reply], limit: float | None = ANSWER
) -> None:
    errors = [reply for reply in replies if reply.is_error]
    times = [reply.latency for reply in replies]
    report.figures.append(Figure.of(name, times, limit, len(errors)))
    if errors:
        statuses = sorted({reply.status for reply in errors})
        report.failures.append(f"{name}: {len(errors)} of {len(replies)} failed: {statuses}")


def note_forwarding(
    report: Report, service: Service, processor: RunningProcessor, latency: float, when: str
) -> None:
    """Whether each request is at its processor, once, and how long it took to be there."""
    with closing(state_of_service(service)) as state:
        requests = forwarded(state)
    away = [dsr for dsr in requests if dsr.status is not DsrStatus.SUBMITTED]
    if away:
        report.failures.append(f"{len(away)} of {len(requests)} requests were not forwarded")
    if sorted(processor.received()) != sorted(dsr.id for dsr in requests):
        report.failures.append("the processor has other requests than were submitted")
    times = [(dsr.updated_at - dsr.received_at).total_seconds() - latency for dsr in requests]
    name = f"submission, forwarded, processor at {latency * 1000:.0f} ms{when}"
    report.figures.append(Figure.of(name, [time * 1000 for time in times], None, len(away)))


def forwarded(state: Stores) -> list[Dsr]:
    """All requests, as soon as none is queued any more, or it took too long."""
    until = time.monotonic() + _SETTLES_WITHIN
    queued = DsrQuery(status=DsrStatus.QUEUED, limit=1)
    while state.dsr.find(queued, _EVERYWHERE) and time.monotonic() < until:
        time.sleep(0.2)
    return list(everything(state))


def everything(state: Stores) -> Iterator[Dsr]:
    after: DsrCursor | None = None
    while page := state.dsr.find(DsrQuery(limit=_PAGE, after=after), _EVERYWHERE):
        yield from page
        after = DsrCursor(page[-1].received_at, page[-1].id)


def state_of_service(service: Service) -> Stores:
    return state_of(load_settings(state={"folder": service.env["LETHE_STATE__FOLDER"]}))


# --- looking up


def look_ups(report: Report, load: Load, count: int) -> None:
    """By id and by subject, among so many requests."""
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as name:
        folder, many = Path(name), Many(count, now())
        told(f"filling a store with {count:,} requests")
        fill_store(folder, many)
        told("look-ups")
        in_database(report, folder, many)
        over_http(report, folder, many, load)


def fill_store(folder: Path, many: Many) -> None:
    with closing(open_state(f"sqlite:///{folder / 'state' / 'state.db'}")) as state:
        fill(state.database, many, subjects_of(folder))


def subjects_of(folder: Path) -> Subjects:
    """With the keys that the service will have."""
    keys = load_settings(parameters={"source": "file", "folder": folder / "keys"})
    return Subjects(open_parameters(keys.parameters))


def in_database(report: Report, folder: Path, many: Many) -> None:
    """By the adapter, in this process."""
    subjects, numbers = subjects_of(folder), chosen(many)
    hashes = [subjects.hash_of(email(many.email_of(number))) for number in numbers]
    ids = [many.id_of(number) for number in numbers]
    with closing(open_state(f"sqlite:///{folder / 'state' / 'state.db'}")) as state:
        by_id = [spent(partial(state.dsr.get, one, _OURS)) for one in ids]
        by_subject = [spent(partial(state.dsr.find, of_subject(one), _OURS)) for one in hashes]
        newest = [spent(partial(state.dsr.find, DsrQuery(), _OURS)) for _ in numbers]
    among = f"among {many.count:,}"
    report.figures += [
        Figure.of(f"look-up by id, database, {among}", by_id, DATABASE),
        Figure.of(f"list by subject, database, {among}", by_subject, DATABASE),
        Figure.of(f"newest 50, database, {among}", newest, DATABASE),
    ]


def over_http(report: Report, folder: Path, many: Many, load: Load) -> None:
    """By the service, at the rate."""
    options = ("--workers", load.workers)
    numbers = itertools.cycle(chosen(many))
    with running_service(folder, *options, env=settings(None)) as service:
        token = service.token("operator", organization=ORGANIZATION)
        kinds: dict[str, Callable[[int], Ask]] = {
            "look-up by id": lambda _: shown(many.id_of(next(numbers))),
            "list by subject": lambda _: searched(many.email_of(next(numbers))),
        }
        for name, asks in kinds.items():
            asked(service, token, Load(load.rate, load.workers, WARM_UP), asks)
            replies = asked(service, token, load, asks)
            note_replies(report, f"{name}, answer, among {many.count:,}", replies)


def of_subject(subject: str) -> DsrQuery:
    return DsrQuery(subject=subject)


def shown(request_id: str) -> Ask:
    return Ask("look-up", "GET", f"/v1/dsr/{request_id}", 200)


def searched(address: str) -> Ask:
    return Ask("search", "POST", "/v1/dsr:search", 200, json.dumps({"email": address}).encode())


def chosen(many: Many) -> list[int]:
    return random.Random(SEED).choices(range(many.count), k=_LOOK_UPS)


def email(address: str) -> Identity:
    return Identity(IdentityType.EMAIL, address)


def spent(work: Callable[[], object]) -> float:
    """Milliseconds. What is found must be something."""
    began = time.perf_counter()
    found = work()
    taken = (time.perf_counter() - began) * 1000
    assert found
    return taken


# --- callbacks


def certificate(report: Report) -> None:
    for one in checks(_CHECKS):
        name = f"callback, {one.name}"
        report.figures.append(Figure(name, _CHECKS, one.p50, one.p95, one.p99, CERTIFICATE))


# --- beside a delivery


def beside_a_delivery(report: Report, load: Load) -> None:
    """The rate, held for long."""
    told(f"{load.rate:,.0f} requests a minute for {load.seconds:.0f} s beside deliveries")
    records = source()
    with stage(load.workers, 0.0) as (service, processor), delivering(report, records):
        replies = submitted(service, load)
        name = f"submission, answer, for {load.seconds:.0f} s beside a delivery"
        note_replies(report, name, replies, None)
        note_forwarding(report, service, processor, 0.0, ", beside a delivery")


def source() -> Path:
    """The file of change records, made once; the one of ``bench.deliver``."""
    path = DATA / f"changes-{RECORDS}.ndjson"
    if not path.exists():
        told(f"generating {RECORDS:,} change records")
        write_file(path, changes(RECORDS, SEED, FileFormat.KINESIS))
    return path


@contextmanager
def delivering(report: Report, records: Path) -> Iterator[None]:
    """Deliveries one after another, each into an empty lake, meanwhile."""
    outcomes = list[int]()
    with (
        tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder,
        beside(lambda stop: deliver(records, Path(folder), stop, outcomes)),
    ):
        yield
    report.notes.append(f"Deliveries of {RECORDS:,} change records meanwhile: {len(outcomes)}.")
    if any(outcomes):
        report.failures.append(f"{sum(map(bool, outcomes))} deliveries failed")


def deliver(records: Path, folder: Path, stop: threading.Event, outcomes: list[int]) -> None:
    """Note the exit status of each; the one under way is waited for."""
    env = service_environment(folder, environment())
    while not stop.is_set():
        lake = folder / "lake"
        command = [
            sys.executable,
            "-m",
            "runners.cli",
            "deliver",
            str(records),
            "--lake",
            str(lake),
        ]
        outcomes.append(
            subprocess.run(command, env=env, capture_output=True, check=False).returncode
        )
        shutil.rmtree(lake, ignore_errors=True)


# --- what is told


def told(what: str) -> None:
    print(what, file=sys.stderr)


def table(report: Report) -> str:
    lines = [
        "| | count | errors | p50 ms | p95 ms | p99 ms | p95 asked |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
    ]
    return "\n".join([*lines, *map(_line, report.figures), "", *report.notes, *report.failures])


def _line(found: Figure) -> str:
    wanted = "-" if found.asked is None else f"{found.asked:.0f}"
    return (
        f"| {found.name} | {found.count:,} | {found.errors} | {found.p50:.2f} | {found.p95:.2f} "
        f"| {found.p99:.2f} | {wanted} |"
    )


def write_results(report: Report, before: Sequence[float]) -> None:
    written = document([])
    written["load_average_before"] = list(before)
    written["results"] = asdict(report)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "dsr.json").write_text(json.dumps(written, indent=2) + os.linesep)


if __name__ == "__main__":
    typer.run(main)
