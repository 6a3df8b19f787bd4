"""The WebSocket benchmark: how soon clients learn of a change, and what one of them costs.

    python -m bench.sockets [--clients N] [--workers W] [--seconds S]

Another process commits changes of runs, each with the time at which its write began; clients of a
real service compare that with the time at which they have the update. So a latency holds the write,
its way through the database, and the clients' own share, which is not small: all of them are in one
process. Memory is the proportional set (PSS) of the workers, before and after the clients came.
Prints a Markdown table and writes ``bench/results/sockets.json``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any
from uuid import uuid4

import typer
from websockets.asyncio.client import ClientConnection, connect

from bench.deliver import RESULTS
from bench.report import document
from config.settings import load_settings
from runners.runs import owner_here, state_of
from schemas.runs import RunRecord, RunStatus
from stores.state.port import State
from tests.service_process import Service, running_service

SPREAD = 40
"""Runs that the clients share among them, in the first scenario; in the second all watch one."""

_AT_ONCE = 50


@dataclass(frozen=True)
class Scenario:
    """What is watched: so many runs, of which one changes every ``every`` seconds."""

    name: str
    runs: int
    every: float


@dataclass(frozen=True)
class Outcome:
    """Latencies in milliseconds of so many updates that were received."""

    scenario: str
    updates: int
    p50: float
    p95: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Found:
    """All outcomes, and what one client costs the workers."""

    outcomes: tuple[Outcome, ...]
    client_bytes: float


SCENARIOS = (
    Scenario(f"{SPREAD} runs, 20 changes a second", SPREAD, 0.05),
    Scenario("one run that all watch, 2 changes a second", 1, 0.5),
)


def main(
    clients: Annotated[int, typer.Option(min=1)] = 800,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    seconds: Annotated[float, typer.Option(min=1)] = 15.0,
) -> None:
    """Measure and report."""
    with (
        tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder,
        running_service(Path(folder), "--workers", workers, env=environment(clients)) as service,
    ):
        found = asyncio.run(measured(service, clients, seconds))
    print(table(found))
    write_results(clients, workers, found)


def environment(clients: int) -> dict[str, str]:
    return {
        "LETHE_ENV": "test",
        "LETHE_SERVICE__THREADS": str(clients + 32),
        "LETHE_SERVICE__SOCKETS__MAX_PER_WORKER": str(clients),
        "LETHE_SERVICE__SOCKETS__MAX_PER_PRINCIPAL": str(clients),
        "LETHE_SERVICE__LIMITS__ADDRESS": "none",
    }


async def measured(service: Service, clients: int, seconds: float) -> Found:
    """Both scenarios; memory is that of the first, when all threads are new."""
    token = service.token("operator")
    before = memory(service)
    outcomes, cost = [], 0.0
    for scenario in SCENARIOS:
        async with AsyncExitStack() as stack:
            sockets = await connected(stack, service, clients)
            with writing(service, scenario, seconds) as (runs, start):
                await asyncio.gather(
                    *(subscribe(s, token, runs[n % len(runs)]) for n, s in enumerate(sockets))
                )
                cost = cost or (memory(service) - before) / clients
                start()
                latencies = await heard(sockets, seconds)
        outcomes.append(outcome(scenario, latencies))
    return Found(tuple(outcomes), cost)


async def connected(
    stack: AsyncExitStack, service: Service, clients: int
) -> list[ClientConnection]:
    url = service.url.replace("http", "ws", 1) + "/ws"
    sockets: list[ClientConnection] = []
    while len(sockets) < clients:
        batch = [
            connect(url, compression=None) for _ in range(min(_AT_ONCE, clients - len(sockets)))
        ]
        sockets += await asyncio.gather(*map(stack.enter_async_context, batch))
    return sockets


async def subscribe(socket: ClientConnection, token: str, run: str) -> None:
    await say(socket, "auth", action="authenticate", token=token)
    await say(socket, "message", action="subscribe", message=f"run:{run}")


async def say(socket: ClientConnection, kind: str, **data: Any) -> None:
    """Say something, and expect an answer that is no error."""
    await socket.send(json.dumps({"type": kind, "data": data}))
    answer = json.loads(await socket.recv())
    if answer["type"] == "error":
        raise SystemExit(f"the service refused: {answer}")


async def heard(sockets: Sequence[ClientConnection], seconds: float) -> list[float]:
    """The latencies of all updates that come within this time, in milliseconds."""
    latencies: list[float] = []

    async def hear(socket: ClientConnection) -> None:
        async for text in socket:
            now = time.time_ns()
            latencies.append((now - json.loads(text)["data"]["state"]["counts"]["at"]) / 1e6)

    listening = [asyncio.create_task(hear(socket)) for socket in sockets]
    await asyncio.sleep(seconds)
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    return latencies


@contextmanager
def writing(
    service: Service, scenario: Scenario, seconds: float
) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """A process that changes runs, once it is told to start."""
    folder = service.env["LETHE_STATE__FOLDER"]
    command = [sys.executable, "-m", "bench.sockets", "write", folder]
    words = [*command, str(scenario.runs), str(scenario.every), str(seconds)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        yield writer.stdout.readline().split(), writer.stdin.close


def write(folder: str, runs: int, every: float, seconds: float) -> None:
    """What the other process does: tell the runs, wait for the end of its input, change them."""
    state = state_of(load_settings(state={"folder": folder}))
    names = [add_run(state) for _ in range(runs)]
    print(*names, flush=True)
    sys.stdin.read()
    until = time.monotonic() + seconds - every
    for name in itertools.cycle(names):
        if time.monotonic() >= until:
            break
        state.runs.beat(name, {"at": time.time_ns()})
        time.sleep(every)
    state.close()


def add_run(state: State) -> str:
    now, owner, name = datetime.now(UTC), owner_here(), f"bench-{uuid4().hex}"
    run = RunRecord(name, "bench", RunStatus.QUEUED, owner, now, now)
    state.runs.add(replace(run, organization="org-1", requested_by="user-1"))
    state.runs.begin(name, owner)
    return name


def memory(service: Service) -> int:
    """The proportional set of all workers, in bytes."""
    return sum(_pss(pid) for pid in service.workers())


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def outcome(scenario: Scenario, latencies: list[float]) -> Outcome:
    if len(latencies) < 100:
        raise SystemExit(f"{scenario.name}: only {len(latencies)} updates came")
    cuts = quantiles(latencies, n=100)
    return Outcome(
        scenario.name, len(latencies), median(latencies), cuts[94], cuts[98], max(latencies)
    )


def table(found: Found) -> str:
    lines = [
        "| scenario | updates | p50 ms | p95 ms | p99 ms | max ms |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {o.scenario} | {o.updates:,} "
        f"| {o.p50:.1f} | {o.p95:.1f} | {o.p99:.1f} | {o.worst:.1f} |"
        for o in found.outcomes
    ]
    return "\n".join([*lines, "", f"Memory a client: {found.client_bytes / 1024:.0f} KiB"])


def write_results(clients: int, workers: int, found: Found) -> None:
    written = document([])
    written["load"] = {"clients": clients, "workers": workers}
    written["results"] = asdict(found)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "sockets.json").write_text(json.dumps(written, indent=2) + os.linesep)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    else:
        typer.run(main)
