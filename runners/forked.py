"""Processes that are forked from this one, and do not outlive it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere pipes tell)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be asked
        os._exit(1)


def leave_signals_to_parent() -> None:
    """Have a signal that asks the whole group to end do so for the parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def how_it_ended(status: int) -> str:
    """In words, how a process ended: by its exit status, or minus the signal."""
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return (
        f"a worker process ended by {how} (out of memory?): run again, with fewer --workers if "
        "memory is short; that finishes or clears what this run left"
    )
