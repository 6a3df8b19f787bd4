"""The Kinesis benchmark: the same recorded answers, read by Lethe's readers and by plain boto3.

    python -m bench.kinesis [--repeat R] [--idle-shards N] [--idle-seconds S]

Prints two Markdown tables and writes ``bench/results/kinesis.json``. The records are real change
records; the endpoint answers from memory, so what is measured is the readers.
"""

from __future__ import annotations

import json
import subprocess
import sys
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
}

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
        outcomes = [Outcome(name, tuple(_runs(name, url, repeat))) for name in _TITLES]
    with endpoint(changes, idle_shards, 1, 10) as url:
        idle = run("stream", url, "--seconds", str(idle_seconds))
    print(table(outcomes))
    print(idle_line(idle_shards, idle))
    write_results(outcomes, {"shards": idle_shards, **idle})


@contextmanager
def endpoint(changes: Path, shards: int, answers: int, records: int = RECORDS) -> Iterator[str]:
    """The URL of an endpoint that gives the recorded answers."""
    command = [
        *(sys.executable, str(_PEERS / "recorded_kinesis.py"), "--changes", str(changes)),
        *("--shards", str(shards), "--answers", str(answers), "--records", str(records)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def _runs(name: str, url: str, repeat: int) -> Iterator[dict[str, float]]:
    for turn in range(repeat):
        found = run(name, url, "--records", str(COUNT))
        print(f"{name} {turn + 1}: {found['seconds']:.2f} s", file=sys.stderr)
        yield found


def run(name: str, url: str, *options: str) -> dict[str, float]:
    """What a reader says of itself, run in a process of its own."""
    command = [sys.executable, "-m", "bench.peers.kinesis_readers", name, "--url", url, *options]
    secrets = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    env = {**environment(), **secrets}
    found: dict[str, float] = json.loads(subprocess.check_output(command, env=env))
    return found


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
