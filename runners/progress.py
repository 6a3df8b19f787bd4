"""Showing progress: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from transforms.progress import read_progress

_BAR_EVERY = 0.25
_LINE_EVERY = 10.0

_log = structlog.get_logger()


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do ``work`` in a thread while the block runs; the event tells it to end."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def shown_progress(folder: Path, total: int, console: Console) -> Iterator[None]:
    """Show, while the block runs, how many of ``total`` bytes the workers have read."""
    show = _show_bar if console.is_terminal else _show_lines
    with beside(lambda stop: show(folder, total, console, stop)):
        yield


def _show_bar(folder: Path, total: int, console: Console, stop: threading.Event) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("delivering", total=total, records=0)
        while not stop.wait(_BAR_EVERY):
            _update(bar, task, folder)


def _update(bar: Bar, task: TaskID, folder: Path) -> None:
    progress = read_progress(folder)
    bar.update(task, completed=progress.bytes, records=progress.records)


def _show_lines(folder: Path, total: int, console: Console, stop: threading.Event) -> None:
    del console
    began = time.monotonic()
    while not stop.wait(_LINE_EVERY):
        progress = read_progress(folder)
        _log.info(
            "delivering",
            bytes=progress.bytes,
            of_bytes=total,
            records=progress.records,
            dead_letters=progress.dead_letters,
            seconds=round(time.monotonic() - began, 1),
        )
