"""``lethe`` in processes that have loaded everything already.

Loading Beam takes a second of processor time, most of what a small delivery takes. A process of its
own loads it once, and forks one for every command; what is forked becomes what the interpreter
would have started: with its own arguments, variables, folder, output and end.

    process = fork_command(["deliver", ...], env)    # in place of subprocess.Popen
    out, err = process.communicate(timeout=300)

It is for commands that are waited for; those that get signals are started as by their users.

Two such processes take turns, so that hashes of strings differ from one command to the next.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]

_LOADED = [
    *(f"runners.{name}" for name in ("choose", "deliver", "direct", "replay", "runs", "compact")),
    *(f"runners.{name}" for name in ("index", "erase", "verify_erasure", "export", "enrich")),
    *("stores.inputs", "stores.objects.s3", "stores.state.sql", "stores.state.migrate"),
    *("config.settings", "stores.state.opening", "runners.commands.deliver"),
    *("numpy.ma", "rich.console", "rich.table"),
]
_LARGEST_ORDER = 1 << 17
"""Seconds in which a command is forked, and its end is told once it writes no more."""


class _Reader(threading.Thread):
    """Reads a stream to its end, from now on."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.written = ""
        self.start()

    def run(self) -> None:
        with self._stream:
            self.written = self._stream.read()


@dataclass
class ForkedCommand:
    """A command that runs; of ``subprocess.Popen`` what is needed to wait for its end."""

    pid: int
    stdout: IO[str]
    stderr: IO[str]
    returncode: int | None = None
    _report: socket.socket = field(kw_only=True, repr=False)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """All that it wrote, to both, when it has ended; it is killed if that takes longer.

        Raises ``subprocess.TimeoutExpired``.
        """
        readers, until = (_Reader(self.stdout), _Reader(self.stderr)), time.monotonic() + timeout
        for reader in readers:
            reader.join(max(0.0, until - time.monotonic()))
            if reader.is_alive():
                os.kill(self.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired("lethe", timeout)
        self.returncode = int(self._report.recv(16))
        self._report.close()
        return readers[0].written, readers[1].written


def fork_command(arguments: Sequence[object], env: Mapping[str, str]) -> ForkedCommand:
    """Start ``lethe`` with these arguments and variables; nothing is on its standard input."""
    order = {"arguments": list(map(str, arguments)), "env": dict(env), "folder": str(Path.cwd())}
    content = json.dumps(order).encode()
    assert len(content) < _LARGEST_ORDER
    ours, report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    try:
        socket.send_fds(next(_turns()), [content], [report.fileno(), out_end, err_end])
    finally:
        report.close()
        os.close(out_end)
        os.close(err_end)
    ours.settimeout(PATIENCE)
    pid = int(ours.recv(16))
    return ForkedCommand(pid, os.fdopen(out), os.fdopen(err), _report=ours)


@functools.cache
def _turns() -> Iterator[socket.socket]:
    return itertools.cycle([_forking_process(), _forking_process()])


def _forking_process() -> socket.socket:
    """The connection to a new one, which ends when this process does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        subprocess.Popen(
            [sys.executable, "-m", "tests.forked_commands", str(its.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    return ours


# --- the process that forks


def _serve(orders: socket.socket) -> dict[str, Any]:
    """Fork for each order. Returns in the forked process only, and gives what it is to be."""
    watched = selectors.DefaultSelector()
    watched.register(orders, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is not orders:
                _tell_of_end(watched, key)
            elif order := _taken(watched, orders):
                return order


def _taken(watched: selectors.BaseSelector, orders: socket.socket) -> dict[str, Any] | None:
    content, fds, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, 3)
    if not content:
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        _close(watched)
        return {**json.loads(content), "fds": fds}
    for fd in fds[1:]:
        os.close(fd)
    watched.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, fds[0]))
    return None


def _tell_of_end(watched: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, report = key.data
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    watched.unregister(key.fileobj)
    os.close(key.fd)
    with socket.socket(fileno=report) as told, contextlib.suppress(OSError):
        told.send(b"%d" % status)


def _close(watched: selectors.BaseSelector) -> None:
    """What belongs to the process that forks, and to its other commands."""
    for key in watched.get_map().values():
        os.close(key.fd)
        if key.data is not None:
            os.close(key.data[1])
    watched.close()


def _become(order: Mapping[str, Any]) -> None:
    """Make this process what the interpreter would have been started as."""
    report, out, err = order["fds"]
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    random.seed()
    sys.argv[1:] = order["arguments"]
    os.write(report, b"%d" % os.getpid())
    os.close(report)


def _main() -> None:
    from runners.cli import main
    from runners.logs import configure_logs

    configure_logs()
    for module in _LOADED:
        import_module(module)
    _become(_serve(socket.socket(fileno=int(sys.argv[1]))))
    main()


if __name__ == "__main__":
    _main()
