"""What processes of their own count is added up; what dead ones were at is not told any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service.observe import processes

_OPENED = """
import sys
from stores.resilience.breaker import BreakerState
from stores.resilience.breaker_metrics import breaker_listener
changed = breaker_listener("enrichment")
changed(BreakerState.OPEN)
print("opened", flush=True)
sys.stdin.read()
"""


def run(folder: Path) -> subprocess.Popen[str]:
    """A process whose breaker is open until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OPENED],
        env={**os.environ, processes.VARIABLE: str(folder), "PYTHONPATH": "."},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opened\n"
    return process


def scraped(folder: Path) -> str:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry).decode()


def test_an_open_breaker_of_a_run_is_seen(tmp_path: Path) -> None:
    with run(tmp_path) as process:
        seen = scraped(tmp_path)
        process.communicate("", 10)
    assert 'lethe_breaker_state{breaker="enrichment"} 2.0' in seen


def test_changes_of_two_processes_add_up(tmp_path: Path) -> None:
    for _ in range(2):
        with run(tmp_path) as process:
            process.communicate("", 10)
    labels = '{breaker="enrichment",state="open"}'
    assert f"lethe_breaker_changes_total{labels} 2.0" in scraped(tmp_path)


def test_a_killed_run_leaves_no_open_breaker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run(tmp_path) as process:
        process.kill()
        process.wait(10)
    monkeypatch.setenv(processes.VARIABLE, str(tmp_path))
    processes.forget_the_dead()
    assert "lethe_breaker_state{" not in scraped(tmp_path)


def test_a_process_that_is_not_the_service_s_shares_nothing() -> None:
    code = (
        "import sys; from stores.resilience.breaker_metrics import breaker_listener;"
        "breaker_listener('enrichment'); sys.exit('prometheus_client' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != processes.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


def test_a_run_goes_on_when_the_folder_is_gone(tmp_path: Path) -> None:
    with run(tmp_path / "gone") as process:
        process.communicate("", 10)
    assert process.returncode == 0
