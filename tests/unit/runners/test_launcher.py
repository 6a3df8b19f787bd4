"""Processes wait at the gate, and end with nothing done if it never opens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runners.launcher import Child, Launch, ProcessLauncher
from runners.runs import owner_of
from schemas.errors import StoreError
from stores.log import Owner
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]


def launched(tmp_path: Path, *words: str) -> Child:
    return ProcessLauncher().start(Launch("r1", words, tmp_path / "logs" / "r1.log"))


def generate(tmp_path: Path) -> tuple[str, ...]:
    return ("generate", "contacts", "--count", "1", "--out", str(tmp_path / "made"))


def ended(child: Child) -> int:
    wait_until(lambda: child.status() is not None, "the end")
    status = child.status()
    assert status is not None
    return status


def test_nothing_is_done_before_the_gate_opens(tmp_path: Path) -> None:
    child = launched(tmp_path, *generate(tmp_path))
    time.sleep(0.3)
    assert child.status() is None
    child.turn_away()
    assert ended(child) != 0
    assert not (tmp_path / "made").exists()


def test_the_command_runs_once_the_gate_is_open_and_its_words_are_logged(tmp_path: Path) -> None:
    child = launched(tmp_path, *generate(tmp_path))
    child.open_gate()
    assert ended(child) == 0
    assert (tmp_path / "made").exists()
    assert "1 contacts" in (tmp_path / "logs" / "r1.log").read_text()


def test_the_owner_is_the_process_before_and_behind_the_gate(tmp_path: Path) -> None:
    child = launched(tmp_path, *generate(tmp_path))
    before = child.owner
    assert Owner(before.host, before.pid, before.started).is_running()
    child.open_gate()
    time.sleep(0.1)
    assert owner_of(before.pid) == before
    assert ended(child) == 0


def test_a_command_that_fails_is_told_by_its_status(tmp_path: Path) -> None:
    child = launched(tmp_path, "schemas", "drift", "--lake", str(tmp_path / "none"))
    child.open_gate()
    assert ended(child) == 1


def test_words_are_no_shell_commands(tmp_path: Path) -> None:
    child = launched(tmp_path, "log", "--lake", f"$(touch {tmp_path / 'touched'})")
    child.open_gate()
    ended(child)
    assert not (tmp_path / "touched").exists()


def test_sigterm_does_not_end_a_command_at_once(tmp_path: Path) -> None:
    """One that goes on for ever takes it as a wish; one that does one thing just ends."""
    child = launched(tmp_path, *generate(tmp_path))
    child.open_gate()
    wait_until_behind_the_gate(child)
    child.send(signal.SIGTERM)
    assert ended(child) == 0


def wait_until_behind_the_gate(child: Child) -> None:
    """While a program is being started its words are empty for a moment."""
    words = Path(f"/proc/{child.owner.pid}/cmdline")
    while not words.read_bytes().startswith(sys.executable.encode()):
        time.sleep(0.001)


def test_signals_to_an_ended_process_are_no_error(tmp_path: Path) -> None:
    child = launched(tmp_path, *generate(tmp_path))
    child.turn_away()
    child.send(signal.SIGTERM)


def test_a_process_whose_scheduler_is_killed_at_the_gate_does_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from runners.launcher import *\n"
        "words = sys.argv[2:]\n"
        "child = ProcessLauncher().start(Launch('r1', words, Path(sys.argv[1])))\n"
        "print(child.owner.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log"), *generate(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    wait_for_end(int(killed.stdout))
    assert not (tmp_path / "made").exists()


def wait_for_end(pid: int) -> None:
    wait_until(lambda: not owner_of(pid).started, "the end")


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(StoreError, match="cannot be started"):
        launched(tmp_path, *generate(tmp_path))
