"""Measure a command with all the processes it starts: time, CPU and memory. Linux only."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY = 0.05
"""Seconds between two looks at memory."""

LEFT_BEHIND_LIMIT = 30.0
"""Seconds that processes may go on after the command itself has ended."""

_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What one run took.

    ``seconds`` is wall time until the command ended; ``cpu_seconds`` user and system time of all
    its processes; ``peak_bytes`` the largest sum of their resident sets in any sample, in which
    memory shared between processes counts once for each.
    """

    status: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_measured(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Usage:
    """Run ``argv`` to its end, its output going to ``log``. Raises ``RuntimeError`` if any
    process it started outlives it by more than ``LEFT_BEHIND_LIMIT``.

    Nothing else may run children of this process meanwhile: they would be counted too.
    """
    _adopt_orphans()
    cpu_before = _cpu_of_children()
    with log.open("wb") as sink, _PeakMemory() as memory:
        began = time.monotonic()
        process = subprocess.Popen(argv, env=dict(env), stdout=sink, stderr=subprocess.STDOUT)
        status = process.wait()
        seconds = time.monotonic() - began
        _await_left_behind()
    return Usage(status, seconds, _cpu_of_children() - cpu_before, memory.peak)


def run_alone(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Usage:
    """Run ``argv``, which starts no processes of its own, while others of ours run beside it."""
    began = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(argv, env=dict(env), stdout=sink, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    return Usage(process.returncode, seconds, cpu, used.ru_maxrss * 1024)


class _PeakMemory:
    """Samples the resident sets of this process's descendants while it is entered."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY):
            self.peak = max(self.peak, _resident_bytes(os.getpid()))


def _resident_bytes(ancestor: int) -> int:
    children: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for pid, parent, pages in _processes():
        children[parent].append((pid, pages))
    total, waiting = 0, [ancestor]
    while waiting:
        for pid, pages in children[waiting.pop()]:
            total += pages * _PAGE
            waiting.append(pid)
    return total


def _processes() -> Iterator[tuple[int, int, int]]:
    """Every process: its id, its parent's and its resident pages (proc(5), ``stat``)."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it ended since the folder was listed
        # The command's name stands in parentheses and may hold anything, so count from its end.
        fields = stat.rpartition(")")[2].split()
        yield int(folder.name), int(fields[1]), int(fields[21])


def _adopt_orphans() -> None:
    """Become the parent of processes that lose theirs, so that their CPU time is told to us."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot adopt orphaned processes")


def _await_left_behind() -> None:
    deadline = time.monotonic() + LEFT_BEHIND_LIMIT
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(SAMPLE_EVERY)
    raise RuntimeError("processes of the command still run long after it has ended")


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
