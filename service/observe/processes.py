"""One folder for the metrics of all worker processes of a service.

prometheus_client decides when it is imported whether it shares, so nothing here imports it before
``share`` was called. Counts of a worker that died stay, for what it did was done; its gauges go.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "lethe-metrics-"


def share() -> None:
    """Have this process and all it forks share their metrics, in a new folder.

    For the process that forks workers, before any metric was made. What services that were killed
    have left is removed. Raises ``RuntimeError`` if it is too late.
    """
    if "prometheus_client" in sys.modules:
        raise RuntimeError("metrics were imported before it was said that they are shared")
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{_PREFIX}*-*"):
        if not _is_running(left.name.removeprefix(_PREFIX).split("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base)


def forget_worker(pid: int) -> None:
    """Take a dead worker's gauges away; to be called in the process that forked it."""
    if VARIABLE in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def forget_the_dead() -> None:
    """Take the gauges away of all processes that are gone: runs are not children of one process."""
    folder = Path(os.environ[VARIABLE])
    for left in folder.glob("gauge_live*_*.db"):
        if not _is_running(left.stem.rpartition("_")[2]):
            left.unlink(missing_ok=True)


def end() -> None:
    """Remove the folder, when all workers have ended."""
    folder = os.environ.pop(VARIABLE, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: str) -> bool:
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
