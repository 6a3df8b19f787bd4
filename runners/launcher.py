"""Starting a run's process so that it is either known to the state store, or does nothing.

The process waits at a gate, a shell's ``read``, until its owner has been written down; then it
becomes the command, under the same process number. If whoever launched it dies before the gate is
open, the pipe closes, and the process ends with nothing done. The scheduler and the service's
dispatcher start their runs so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runners.runs import CANCEL, INTERRUPTED, RUN_ID, owner_of
from schemas.errors import StoreError
from schemas.runs import RunEnd, RunOwner, RunStatus
from stores.tracing import TRACEPARENT

_GATE = 'trap "" TERM; read -r open && exec "$@" </dev/null'
"""SIGTERM asks a command to end after its round; one that has a single round just ends it."""


@dataclass(frozen=True)
class Launch:
    """A process to be started; ``log`` takes what it says.

    ``traceparent`` is the trace that it is part of, as W3C writes it.
    """

    run_id: str
    words: Sequence[str]
    log: Path
    traceparent: str | None = None


class Child(Protocol):
    """A process at the gate, or beyond it."""

    @property
    def owner(self) -> RunOwner: ...

    def open_gate(self) -> None:
        """Let it do its work."""

    def turn_away(self) -> None:
        """Have it end with nothing done. Only before the gate was opened."""

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""

    def send(self, number: int) -> None:
        """Send it a signal; no error if it has ended."""


class Launcher(Protocol):
    """Starts processes."""

    def start(self, launch: Launch) -> Child:
        """Start a process that waits at the gate. Raises ``StoreError`` if that cannot be done."""


class ProcessLauncher:
    """Starts commands of Lethe as processes of this machine, each in a session of its own."""

    def start(self, launch: Launch) -> Child:
        try:
            launch.log.parent.mkdir(parents=True, exist_ok=True)
            with launch.log.open("ab") as log:
                return ProcessChild(_start(launch, log))
        except OSError as error:
            raise StoreError(f"the process cannot be started: {error.strerror}") from error


class ProcessChild:
    """See ``Child``."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._owner = owner_of(process.pid)

    @property
    def owner(self) -> RunOwner:
        return self._owner

    def open_gate(self) -> None:
        gate = self._process.stdin
        if gate is not None:
            with suppress(BrokenPipeError), gate:
                gate.write(b"open\n")

    def turn_away(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def status(self) -> int | None:
        return self._process.poll()

    def send(self, number: int) -> None:
        self._process.send_signal(number)


def end_of_process(status: int, cancelled: bool) -> RunEnd:
    """What a process's exit status says of its run; negative for a signal."""
    if status == 0:
        return RunEnd(RunStatus.SUCCEEDED, 0)
    if cancelled and status in {INTERRUPTED, -CANCEL}:
        return RunEnd(RunStatus.CANCELLED, status)
    return RunEnd(RunStatus.FAILED, status)


def _start(launch: Launch, log: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "runners.cli", *launch.words]
    return subprocess.Popen(
        ["/bin/sh", "-c", _GATE, "lethe", *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=_environment(launch, os.environ),
        start_new_session=True,
    )


def _environment(launch: Launch, inherited: Mapping[str, str]) -> dict[str, str]:
    ours = {RUN_ID: launch.run_id}
    if launch.traceparent is not None:
        ours[TRACEPARENT] = launch.traceparent
    return {**inherited, **ours}
