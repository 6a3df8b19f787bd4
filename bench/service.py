"""The service's benchmark: how soon it answers while it works, how much it takes, what it keeps.

    python -m bench.service [--repeat R] [--seconds S] [--rate N] [--workers W] [--no-sockets]

A real service, with its defaults but for limits, which count and never refuse; real tokens.

1. A timetable of ``rate`` requests a minute, three look-ups of a status to one new request of three
   contacts, while pipelines of 200,000 contacts run one after another beside it, against a mock API
   that takes 50 ms. A thread of the benchmark asks the same database meanwhile.
2. As many requests as 16 connections get through, of each kind, while the API hardly answers.

Figures are medians of the turns; memory is of all workers together (their proportional sets), and
their growth. What is measured, what loads it, pipelines and mock API share one machine. Prints
Markdown tables and writes ``bench/results/service.json``; WebSockets follow, by ``bench.sockets``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import typer

from bench import sockets
from bench.deliver import RESULTS
from bench.http_load import Ask, Client, Latencies, as_many_as_it_takes, by_timetable, latencies
from bench.report import document
from bench.sockets import memory
from config.settings import load_settings
from runners.generate import contacts
from runners.runs import state_of
from schemas.access import Reach
from schemas.requests import Counted
from stores.state.service_port import Stores
from tests.mock_api import Mock, running_mock
from tests.service_process import Service, running_service

CONNECTIONS = 16
CONTACTS = 200_000
LATENCY = 0.05
LOOK_UP, CREATE = "status look-up", "new request"

_PIPELINES = 60
_HARDLY_ANSWERS = 8.0
_SETTLES = 3.0
_PROBE_EVERY = 0.05
_PACKAGES = ("flask", "flask-openapi", "gunicorn", "pydantic", "SQLAlchemy", "PyJWT")


@dataclass(frozen=True)
class Load:
    """How the service is loaded."""

    rate: float
    seconds: float
    workers: int


@dataclass(frozen=True)
class Turn:
    """What one turn found: latencies in milliseconds, memory in bytes."""

    timetable: tuple[Latencies, ...]
    maximum: tuple[Latencies, ...]
    database: tuple[Latencies, ...]
    memory_before: int
    memory_after: int
    requests: int
    processed_batches: int


def main(
    repeat: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=5)] = 30.0,
    rate: Annotated[float, typer.Option(min=60, help="Requests a minute.")] = 1000.0,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    with_sockets: Annotated[bool, typer.Option("--sockets/--no-sockets")] = True,
) -> None:
    """Measure and report."""
    load, before = Load(rate, seconds, workers), os.getloadavg()
    turns = [turn(load) for _ in range(repeat)]
    print(table(turns))
    print(f"\nLoad of the machine, a minute's mean, before it began: {before[0]:.1f}")
    write_results(load, before, turns)
    if with_sockets:
        print()
        sockets.main(workers=workers)


def turn(load: Load) -> Turn:
    """A service of its own, all phases, and its end."""
    with (
        running_mock(latency=LATENCY) as mock,
        tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder,
        running_service(
            Path(folder), "--workers", load.workers, env=environment(mock.url)
        ) as service,
    ):
        token = service.token("operator")
        pipelines = busy(service, token)
        try:
            return asyncio.run(measured(load, service, token, mock, pipelines))
        finally:
            for job in pipelines:
                service.ask("DELETE", f"/v1/enrichment/{job}", token=token)


def environment(api: str) -> dict[str, str]:
    every = dict.fromkeys(("ADDRESS", "PRINCIPAL", "EVERYTHING"), "9000000/m")
    endpoints = json.dumps({"POST /v1/enrichment": "9000000/m"})
    return {
        "LETHE_ENV": "test",
        "LETHE_LOG_LEVEL": "INFO",
        "LETHE_SERVICE__ENRICHMENT__API": api,
        "LETHE_SERVICE__ENRICHMENT__MAX_RUNNING": "1",
        "LETHE_SERVICE__LIMITS__ENDPOINTS": endpoints,
        **{f"LETHE_SERVICE__LIMITS__{name}": limit for name, limit in every.items()},
    }


def busy(service: Service, token: str) -> list[str]:
    """Submit pipelines enough to have one running all the time, and wait for the first one."""
    content = b"".join(contacts(CONTACTS, seed=7))
    announced = {
        "contentType": "application/x-ndjson",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "fileName": "contacts.ndjson",
    }
    upload = service.post("/v1/uploads", announced, token=token).json
    sent = service.ask("PUT", upload["uploadUrl"], content, headers=upload["headers"])
    if sent.status != 204:
        raise SystemExit(f"the upload failed: {sent.status}")
    order = {"inputFileKey": upload["inputFileKey"], "force": True}
    jobs = [submitted(service, token, order) for _ in range(_PIPELINES)]
    while not shown(service, token, jobs[0])["processedBatches"]:
        time.sleep(0.1)
    return jobs


def submitted(service: Service, token: str, order: dict[str, Any]) -> str:
    answer = service.post("/v1/enrichment", order, token=token)
    if answer.status != 202:
        raise SystemExit(f"the service took no job: {answer.status}")
    return str(answer.json["requestId"])


def shown(service: Service, token: str, job: str) -> dict[str, Any]:
    return dict(service.get(f"/v1/enrichment/{job}", token=token).json)


async def measured(
    load: Load, service: Service, token: str, mock: Mock, jobs: Sequence[str]
) -> Turn:
    with closing(Client(service.port, token)) as client:
        return await phases(load, service, client, mock, jobs)


async def phases(
    load: Load, service: Service, client: Client, mock: Mock, jobs: Sequence[str]
) -> Turn:
    """All of them, one after another."""
    asks, look_ups, new_requests = mixed(jobs), only(LOOK_UP, jobs), only(CREATE, jobs)
    await as_many_as_it_takes(client, look_ups, CONNECTIONS, 1.0)
    before, calls = memory(service), mock.stats()["calls"]
    with probing(service, jobs[0]) as probes:
        replies = await by_timetable(client, asks, load.rate, load.seconds)
    batches = mock.stats()["calls"] - calls
    mock.set(latency=_HARDLY_ANSWERS)
    await asyncio.sleep(_SETTLES)
    many = await as_many_as_it_takes(client, look_ups, CONNECTIONS, load.seconds)
    new = await as_many_as_it_takes(client, new_requests, CONNECTIONS, load.seconds / 3)
    return Turn(
        tuple(latencies(kind, replies, load.seconds) for kind in (LOOK_UP, CREATE)),
        (latencies(LOOK_UP, many, load.seconds), latencies(CREATE, new, load.seconds / 3)),
        tuple(outcome(kind, times, load.seconds) for kind, times in probes.items()),
        before,
        memory(service),
        len(replies) + len(many) + len(new),
        batches,
    )


def mixed(jobs: Sequence[str]) -> Callable[[int], Ask]:
    """Three look-ups, one new request."""
    look_up, create = only(LOOK_UP, jobs), only(CREATE, jobs)
    return lambda number: create(number) if number % 4 == 3 else look_up(number)


def only(kind: str, jobs: Sequence[str]) -> Callable[[int], Ask]:
    if kind == LOOK_UP:
        return lambda number: Ask(kind, "GET", f"/v1/enrichment/{jobs[number % len(jobs)]}", 200)
    return lambda _: Ask(kind, "POST", "/v1/enrichment", 202, new_request())


def new_request() -> bytes:
    """Contacts that nobody has had enriched before."""
    name = os.urandom(8).hex()
    rows = [{"id": f"{name}-{number}", "email": f"{name}@example.com"} for number in range(3)]
    return json.dumps({"contacts": rows}).encode()


@contextmanager
def probing(service: Service, job: str) -> Iterator[dict[str, list[float]]]:
    """Times of a read and a write of the service's database, by another process than it."""
    times: dict[str, list[float]] = {"database read": [], "database write": []}
    folder, stop = Path(service.env["LETHE_STATE__FOLDER"]), threading.Event()
    with closing(state_of(load_settings(state={"folder": folder}))) as state:
        thread = threading.Thread(target=probe, args=(state, job, times, stop))
        thread.start()
        try:
            yield times
        finally:
            stop.set()
            thread.join()


def probe(state: Stores, job: str, times: dict[str, list[float]], stop: threading.Event) -> None:
    works: dict[str, Callable[[], object]] = {
        "database read": lambda: state.jobs.get(job, Reach(None)),
        "database write": lambda: state.counters.count([Counted("bench", 60)]),
    }
    while not stop.wait(_PROBE_EVERY):
        for name, work in works.items():
            began = time.monotonic()
            work()
            times[name].append((time.monotonic() - began) * 1000)


def outcome(kind: str, times: Sequence[float], seconds: float) -> Latencies:
    cuts = quantiles(times, n=100, method="inclusive")
    per_second = len(times) / seconds
    return Latencies(kind, len(times), 0, per_second, cuts[49], cuts[94], cuts[98], max(times))


def middle(found: Sequence[Latencies]) -> Latencies:
    """The medians of several turns; errors add up."""
    numbers = [field.name for field in fields(Latencies) if field.name not in {"kind", "errors"}]
    medians = {name: median(getattr(each, name) for each in found) for name in numbers}
    return replace(found[0], errors=sum(each.errors for each in found), **medians)


def table(turns: Sequence[Turn]) -> str:
    lines = [
        "| | requests/s | errors | p50 ms | p95 ms | p99 ms | max ms |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
    ]
    for phase, name in PHASES.items():
        for each in zip(*(getattr(turn, phase) for turn in turns), strict=True):
            lines.append(_line(name, middle(each)))
    return "\n".join([*lines, "", _memory(turns)])


PHASES = {
    "timetable": "beside a pipeline",
    "database": "beside a pipeline",
    "maximum": f"as many as {CONNECTIONS} connections take",
}


def _line(phase: str, found: Latencies) -> str:
    return (
        f"| {found.kind}, {phase} | {found.per_second:,.1f} | {found.errors} "
        f"| {found.p50:.1f} | {found.p95:.1f} | {found.p99:.1f} | {found.worst:.1f} |"
    )


def _memory(turns: Sequence[Turn]) -> str:
    before, after = (
        median(getattr(turn, name) for turn in turns) / 1e6
        for name in ("memory_before", "memory_after")
    )
    requests = median(turn.requests for turn in turns)
    batches = median(turn.processed_batches for turn in turns)
    return (
        f"Memory of all workers: {before:.0f} MB when warm, {after:.0f} MB "
        f"after {requests:,.0f} requests.\n"
        f"The pipeline's calls of its API meanwhile: {batches:,.0f}."
    )


def write_results(load: Load, before: Sequence[float], turns: Sequence[Turn]) -> None:
    written = document([])
    written["versions"] = {name: version(name) for name in _PACKAGES}
    written["load"] = {**asdict(load), "load_average_before": list(before)}
    written["results"] = [asdict(turn) for turn in turns]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "service.json").write_text(json.dumps(written, indent=2) + os.linesep)


if __name__ == "__main__":
    typer.run(main)
