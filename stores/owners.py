"""Whose a run is: a process of this machine, or a job elsewhere."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """The process that a run belongs to. ``started`` tells it from a later one of the same pid."""

    host: str
    pid: int
    started: str

    @staticmethod
    def this_process() -> Owner:
        return Owner.of(os.getpid())

    @staticmethod
    def of(pid: int) -> Owner:
        """A process of this machine."""
        return Owner(socket.gethostname(), pid, _process_start(pid))

    @staticmethod
    def elsewhere(name: str) -> Owner:
        """A job of a cluster: its life shows in heartbeats alone. ``name`` is no host's."""
        return Owner(name, 0, "")

    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    def is_running(self) -> bool:
        """Whether the process lives; only for one on this machine."""
        started = _process_start(self.pid)
        return bool(started) and started == self.started


def _process_start(pid: int) -> str:
    """When a process began, in the kernel's clock ticks; "" if there is none, or it has ended."""
    try:
        state, *_, started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:20]
        # A zombie has ended; it is only that its parent has not asked how.
        return "" if state in {"Z", "X"} else started
    except FileNotFoundError:
        return _process_start_without_proc(pid)
    except (OSError, ValueError):
        return ""


def _process_start_without_proc(pid: int) -> str:
    """Where there is no /proc, a living pid is all that can be told."""
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "alive"
    return "alive"
