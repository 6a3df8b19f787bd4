"""Deliveries without end, started as their users start them, and what goes on around them."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow.parquet as pq

from runners.engines.local import modules, own_command
from runners.engines.processes import free_ports, start_tied, stop, wait_for_port
from runners.generate import changes
from tests.e2e.harness import Lake, outcome, start
from tests.integration.streams.emulated import Emulated
from tests.waiting import PATIENCE, wait_until

RATE = 40
"""Records that a producer writes a second."""

WINDOW = 5
"""Seconds of a window."""

_LINES = [line for chunk in changes(12_000, 11, "kinesis", 0.0) for line in chunk.splitlines()]
_ID = re.compile(rb'"eventID":"([^"]+)"')
_UPDATED = re.compile(rb'"updatedAt":\{"[SN]":"[^"]*"\}')
_CREATED = re.compile(rb'"ApproximateCreationDateTime":[\d.]+')


def record(line: bytes, now: datetime) -> bytes:
    """The change record as if it had been made just now."""
    updated = b'"updatedAt":{"S":"%s"}' % now.isoformat(timespec="milliseconds").encode()
    created = b'"ApproximateCreationDateTime":%d' % (now.timestamp() * 1000)
    return _CREATED.sub(created, _UPDATED.sub(updated, line))


class Producer:
    """Writes records of the present, one after another, while it is entered.

    ``put_at`` says by change id when each was put, in epoch seconds.
    """

    def __init__(self, stream: Emulated) -> None:
        self.put_at: dict[str, float] = {}
        self._stream = stream
        self._stop = Event()
        self._thread = Thread(target=self._write)
        self._error: Exception | None = None

    def _write(self) -> None:
        client, lines = self._stream.plain(), iter(_LINES)
        try:
            while not self._stop.wait(0.25):
                self._put(client, list(itertools.islice(lines, RATE // 4)))
        except Exception as error:
            self._error = error

    def _put(self, client: Any, lines: list[bytes]) -> None:
        now = datetime.now(UTC)
        ids = [_ID.search(line)[1].decode() for line in lines]  # type: ignore[index]
        entries = [
            {"Data": record(line, now), "PartitionKey": key}
            for line, key in zip(lines, ids, strict=True)
        ]
        answer = client.put_records(StreamName=self._stream.name, Records=entries)
        assert answer["FailedRecordCount"] == 0
        self.put_at.update(dict.fromkeys(ids, time.time()))

    def __enter__(self) -> Producer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error


class Visible:
    """The rows that readers of a lake see. ``since`` says by change id since when, about."""

    def __init__(self, lake: Path) -> None:
        self.since: dict[str, float] = {}
        self.path = lake
        self._files: set[Path] = set()

    def look(self) -> None:
        """Take in the files that have appeared."""
        for file in set(self.path.glob("type=*/*/*.parquet")) - self._files:
            self._files.add(file)
            found = pq.read_table(file, columns=["change_id"])["change_id"].to_pylist()
            self.since.update(dict.fromkeys(found, time.time()))

    def wait_for(self, ids: set[str]) -> None:
        """Wait until all of these are there."""

        def are_there() -> bool:
            self.look()
            return ids <= self.since.keys()

        wait_until(are_there, f"{len(ids)} rows")

    def wait_for_news(self, producer: Producer) -> None:
        """Wait until something is there that was put after this was called."""
        before = set(producer.put_at)

        def is_there() -> bool:
            self.look()
            return not self.since.keys() <= before

        wait_until(is_there, "rows that were put just now")


class Launcher:
    """``lethe deliver`` on a stream, without end."""

    def __init__(self, stream: Emulated, lake: Path, options: tuple[str, ...]) -> None:
        address = f"kinesis://{stream.name}?region={stream.address.region}"
        self._process = start(
            "deliver", f"{address}&endpoint={stream.read_url}", "--lake", lake,
            "--window", f"{WINDOW}s", "--idle", "3s", *options, start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def kill(self) -> None:
        """SIGKILL, to it alone."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """SIGTERM, and wait until it has ended well."""
        self._process.send_signal(signal.SIGTERM)
        ended = outcome(self._process)
        assert ended.status == 0, ended.err

    def close(self) -> None:
        """Leave nothing behind, whatever became of the test."""
        if self._process.poll() is None:
            self.kill()


@contextmanager
def delivering(stream: Emulated, lake: Path, options: tuple[str, ...]) -> Iterator[Launcher]:
    launcher = Launcher(stream, lake, options)
    try:
        yield launcher
    finally:
        launcher.close()


class WorkerPool:
    """A worker pool that can be killed, and started again where it was."""

    def __init__(self) -> None:
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        self._process = start_tied(own_command(self._port), env=modules())
        assert wait_for_port(self._process, self._port, PATIENCE)

    def kill(self) -> None:
        """SIGKILL; its workers die with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process is not None:
            stop(self._process)


def survives(
    stream: Emulated, lake: Path, options: tuple[str, ...], *faults: Callable[[Launcher], Any]
) -> None:
    """Deliver while a producer writes, with faults one after another; every row is there once.

    A fault that starts another launcher gives it back.
    """
    visible = Visible(lake)
    with delivering(stream, lake, options) as launcher:
        with Producer(stream) as producer:
            visible.wait_for_news(producer)
            for fault in faults:
                launcher = fault(launcher) or launcher  # noqa: PLW2901
                visible.wait_for_news(producer)
        visible.wait_for(set(producer.put_at))
        launcher.end()
    assert_each_once(lake, producer)


def assert_each_once(lake: Path, producer: Producer) -> None:
    """Every record that was put has one row, and the lake holds nothing of what was going on."""
    found = Lake.at(lake)
    assert Counter(found.changes()) == Counter(producer.put_at.keys())
    assert found.letters() == []
    assert found.leftovers() == []
