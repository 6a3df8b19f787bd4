"""The Kinesis benchmark: the same recorded answers, read by Lethe's readers and by plain boto3.

    python -m bench.kinesis [--repeat R] [--idle-shards N] [--idle-seconds S]

Then the same records delivered from a stream and from a file. Prints two Markdown tables and writes
``bench/results/kinesis.json``. The records are real change records; the endpoint answers from
memory, so what is measured is the readers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from bench.contenders import environment
from bench.deliver import RESULTS, make_source
from bench.report import document

SHARDS = 64
"""So many that five answers a second of each are more than any reader can take."""

ANSWERS = 4
RECORDS = 2000
"""Of an answer: about 1.7 MB of change records."""

COUNT = SHARDS * ANSWERS * RECORDS

_MEGA = 1_000_000
_PEERS = Path(__file__).parent / "peers"
_TITLES = {
    "boto3": "plain boto3 loop",
    "stream": "Lethe, unbounded source",
    "round": "Lethe, bounded round",
    "deliver-file": "Lethe deliver, from a file",
    "deliver-stream": "Lethe deliver, from a stream",
}
_READERS = ("boto3", "stream", "round")
_SECRETS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}

DELIVERED = 320_000
DELIVERED_SHARDS = 32
"""Records that whole deliveries are measured with, and the shards they lie in."""

Repeat = Annotated[int, typer.Option(min=1, help="Runs of each reader; the median counts.")]
IdleShards = Annotated[int, typer.Option(min=1, help="Shards of the idle stream.")]
IdleSeconds = Annotated[float, typer.Option(min=1, help="How long it is watched.")]


@dataclass(frozen=True)
class Outcome:
    """All runs of one reader."""

    name: str
    runs: tuple[dict[str, float], ...]

    def middle(self, figure: str) -> float:
        return median(run[figure] for run in self.runs)


def main(repeat: Repeat = 3, idle_shards: IdleShards = 400, idle_seconds: IdleSeconds = 20) -> None:
    """Read recorded answers with every reader, and watch an idle one."""
    changes = make_source(100_000).path
    with endpoint(changes, SHARDS, ANSWERS) as url:
        outcomes = [Outcome(name, tuple(_runs(name, url, repeat))) for name in _READERS]
    with endpoint(changes, idle_shards, 1, 10) as url:
        idle = run("stream", url, "--seconds", str(idle_seconds))
    delivered = deliveries(repeat)
    print(table(outcomes))
    print(deliveries_table(delivered))
    print(idle_line(idle_shards, idle))
    write_results([*outcomes, *delivered], {"shards": idle_shards, **idle})


@contextmanager
def endpoint(
    changes: Path, shards: int, answers: int, records: int = RECORDS, own: bool = False
) -> Iterator[str]:
    """The URL of an endpoint that gives the recorded answers; see there for ``own``."""
    command = [
        *(sys.executable, str(_PEERS / "recorded_kinesis.py"), "--changes", str(changes)),
        *("--shards", str(shards), "--answers", str(answers), "--records", str(records)),
        *(["--own"] if own else []),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _runs(name: str, url: str, repeat: int) -> Iterator[dict[str, float]]:
    for turn in range(repeat):
        found = run(name, url, "--records", str(COUNT))
        print(f"{name} {turn + 1}: {found['seconds']:.2f} s", file=sys.stderr)
        yield found


def run(name: str, url: str, *options: str) -> dict[str, float]:
    """What a reader says of itself, run in a process of its own."""
    command = [sys.executable, "-m", "bench.peers.kinesis_readers", name, "--url", url, *options]
    env = {**environment(), **_SECRETS}
    found: dict[str, float] = json.loads(subprocess.check_output(command, env=env))
    return found


def deliveries(repeat: int) -> list[Outcome]:
    """The same records, delivered by one worker from a stream and from a file, in turn."""
    source = make_source(DELIVERED)
    runs: dict[str, list[dict[str, float]]] = {"deliver-file": [], "deliver-stream": []}
    per_shard = DELIVERED // (DELIVERED_SHARDS * RECORDS)
    with endpoint(source.path, DELIVERED_SHARDS, per_shard, own=True) as url:
        stream = f"kinesis://recorded?region=us-east-1&endpoint={url}"
        for _ in range(repeat):
            for name, start in (("deliver-file", str(source.path)), ("deliver-stream", stream)):
                runs[name].append(_delivered(start))
    return [Outcome(name, tuple(found)) for name, found in runs.items()]


def _delivered(source: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        report = Path(folder) / "report.json"
        options = ("--lake", f"{folder}/lake", "--workers", "1", "--report", str(report))
        command = [sys.executable, "-m", "runners.cli", "deliver", source, *options]
        used = _alone(command, Path(folder) / "log")
        delivered = json.loads(report.read_text())["delivered"] if report.exists() else 0
    if delivered != DELIVERED:
        raise SystemExit(f"{source}: {delivered} of {DELIVERED} records were delivered")
    return {**used, "records_per_second": DELIVERED / used["seconds"]}


def _alone(command: list[str], log: Path) -> dict[str, float]:
    """What a command took that starts no other processes, while an endpoint runs beside it."""
    began = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, env={**environment(), **_SECRETS}, stdout=sink, stderr=sink
        )
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": used.ru_maxrss * 1024.0}


def deliveries_table(outcomes: list[Outcome]) -> str:
    """Records per second of whole deliveries, and their share of that from a file."""
    base = next(each for each in outcomes if each.name == "deliver-file").middle("seconds")
    lines = [
        "",
        "| delivery | records/s | x file | CPU s | peak MB |",
        "| --- | --: | --: | --: | --: |",
    ]
    for each in outcomes:
        speed, cpu = each.middle("records_per_second"), each.middle("cpu_seconds")
        peak = each.middle("peak_bytes") / _MEGA
        share = base / each.middle("seconds")
        lines.append(
            f"| {_TITLES[each.name]} | {speed:,.0f} | {share:.2f} | {cpu:.1f} | {peak:,.0f} |"
        )
    return "\n".join(lines)


def table(outcomes: list[Outcome]) -> str:
    """Records per second of each reader, and how many times as many as plain boto3."""
    base = next(each for each in outcomes if each.name == "boto3").middle("records_per_second")
    lines = [
        "| reader | records/s | x boto3 | CPU s | peak MB |",
        "| --- | --: | --: | --: | --: |",
    ]
    for each in outcomes:
        speed, cpu = each.middle("records_per_second"), each.middle("cpu_seconds")
        peak = each.middle("peak_bytes") / _MEGA
        figures = f"{speed:,.0f} | {speed / base:.2f} | {cpu:.1f} | {peak:,.0f}"
        lines.append(f"| {_TITLES[each.name]} | {figures} |")
    return "\n".join(lines)


def idle_line(shards: int, idle: dict[str, float]) -> str:
    return (
        f"\n{shards} idle shards: {idle['cpu_percent']:.1f}% of a core, "
        f"{idle['peak_bytes'] / _MEGA:,.0f} MB at most"
    )


def write_results(outcomes: list[Outcome], idle: dict[str, float]) -> None:
    found: dict[str, Any] = document([])
    found["results"] = [{"name": each.name, "runs": list(each.runs)} for each in outcomes]
    found["idle"] = idle
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "kinesis.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
