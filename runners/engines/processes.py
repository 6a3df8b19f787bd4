"""Processes that end with the one that started them, whatever kills that."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_GRACE = 5.0

_TIE = (
    "import ctypes,os,sys;"
    f"sys.platform=='linux' and ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG},{signal.SIGKILL:d});"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);"
    "os.execvp(sys.argv[2],sys.argv[2:])"
)
"""Run between fork and exec, in a process of its own: nothing may run in a fork of a process with
threads. The second step is for a parent that died before it could be watched."""


def start_tied(
    command: Sequence[str | Path], log: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command in a group of its own; on Linux the kernel kills it with this thread.

    Its output goes to ``log``, or nowhere.
    """
    tied = [sys.executable, "-IS", "-c", _TIE, str(os.getpid()), *map(str, command)]
    with (log or Path(os.devnull)).open("ab") as out:
        return subprocess.Popen(
            tied,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process: asked first, killed with its group if it does not."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens at now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for_port(process: subprocess.Popen[bytes], port: int, seconds: float) -> bool:
    """Whether the process listens before it ends or the time is over."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False
