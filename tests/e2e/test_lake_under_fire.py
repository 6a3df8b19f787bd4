"""A lake in which everybody works at once, and anybody may be killed or paused at any instant.

Two deliveries, two erasures and a compaction go on beside each other: whenever a command ends, the
next one of its kind begins, and one that was killed is given again. At the end all of it is asked
for once more, undisturbed. Then the lake has to be what the inputs say, less the subjects' rows.

The commands run in processes forked from this one, which has everything loaded already.
``LETHE_FIRE`` is how many seconds that goes on, ``LETHE_FIRE_SEED`` what chance is made of.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
import random
import re
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest

from runners.cli import build_app, main
from runners.generate.people import Person, person
from stores.lake_files import lake_files
from stores.log import DeliveryLog
from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.objects.keys import STAGING
from stores.objects.s3 import S3ObjectStore
from tests.e2e.harness import environment, generated
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_dynamodb_url

__all__ = ["moto_dynamodb_url"]  # a fixture: pytest finds it here

SECONDS = float(os.environ.get("LETHE_FIRE", "5"))
SEED = int(os.environ.get("LETHE_FIRE_SEED", "1"))

RECORDS, DAYS, HOSTILE = 120, 4, 0.03
PEOPLE = 88
"""How many people the generated records speak of."""

KILLED_SHARE, LONGEST_LIFE = 0.6, 2.0
"""How many commands are killed, and how many seconds these live at the most."""

LONGEST_WAKE, LONGEST_NAP = 2.0, 1.5
"""Seconds between which a command is stopped, and goes on as if nothing had been."""

LONGEST_PAUSE = 1.5
TIMEOUT = 240.0
INCOMPLETE = 4

Row = dict[str, Any]
Command = tuple[str, ...]


# --- Those who work in the lake ---------------------------------------------------------------


@dataclass
class Worker:
    """Somebody who gives commands, one after the other; the same one again if it was killed.

    ``command`` is the one to be done, ``done`` are those that have ended by themselves. Where naps
    are not allowed none is paused: moto answers 500 if an upload is completed again.
    """

    commands: Iterator[Command]
    folder: Path
    env: dict[str, str]
    chance: random.Random
    may_nap: bool = True
    done: list[Command] = field(default_factory=list)
    killed: int = 0
    command: Command | None = None
    _child: int = 0
    _dies_at: float = 0.0
    _is_doomed: bool = False
    _begins_at: float = 0.0
    _naps_at: float = 0.0
    _wakes_at: float = 0.0

    def go_on(self) -> None:
        """Look after the command: kill it, see to its end, or begin the next one."""
        if self._child:
            self._look_after()
        elif time.monotonic() >= self._begins_at:
            self._begin()

    def end(self) -> None:
        """Wait for the command's end."""
        while self._child:
            self._look_after()
            time.sleep(0.01)

    def _begin(self) -> None:
        self.command = self.command or next(self.commands)
        self._child = forked(self.command, self.env, self._log)
        self._is_doomed = self.chance.random() < KILLED_SHARE
        life = self.chance.uniform(0.0, LONGEST_LIFE) if self._is_doomed else TIMEOUT
        self._dies_at = time.monotonic() + life
        self._wakes_at = 0.0
        self._naps_at = self._soon(LONGEST_WAKE) if self.may_nap else math.inf

    def _soon(self, at_the_latest: float) -> float:
        return time.monotonic() + self.chance.uniform(0.0, at_the_latest)

    def _look_after(self) -> None:
        if time.monotonic() >= self._dies_at:
            os.killpg(self._child, signal.SIGKILL)
        elif self._wakes_at:
            self._wake()
        elif time.monotonic() >= self._naps_at:
            os.killpg(self._child, signal.SIGSTOP)
            self._wakes_at = self._soon(LONGEST_NAP)
        found, status = os.waitpid(self._child, os.WNOHANG)
        if found:
            self._child = 0
            self._judge(os.waitstatus_to_exitcode(status))
            self._begins_at = self._soon(LONGEST_PAUSE)

    def _wake(self) -> None:
        if time.monotonic() >= self._wakes_at:
            os.killpg(self._child, signal.SIGCONT)
            self._wakes_at, self._naps_at = 0.0, self._soon(LONGEST_WAKE)

    def _judge(self, status: int) -> None:
        assert self.command is not None
        if status == -signal.SIGKILL and self._is_doomed:
            self.killed += 1
            return
        allowed = {0, INCOMPLETE} if self.command[0] == "erase" else {0}
        assert status in allowed, f"{self.command[0]}: {status}: {self._log.read_text()}"
        self.done.append(self.command)
        self.command = None

    @property
    def _log(self) -> Path:
        return self.folder / f"{id(self)}.log"


def forked(command: Command, env: dict[str, str], log: Path) -> int:
    """Run a command in a process, and a process group, of its own."""
    child = os.fork()
    # By both, since nobody knows who of them is first: the group is there before it is killed.
    with suppress(OSError):
        os.setpgid(child, child)
    if child:
        return child
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = ["lethe", *command]
        main()
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else int(bool(ended.code)))
    finally:
        os._exit(1)


def run(command: Command, env: dict[str, str], log: Path) -> None:
    """Run a command to its end, undisturbed."""
    _, status = os.waitpid(forked(command, env, log), 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"{command[0]}: {log.read_text()}"


@dataclass(frozen=True)
class Site:
    """A lake, how it is reached, and a folder beside it for what the test needs."""

    store: ObjectStore
    folder: Path
    env: dict[str, str]

    def deliver(self, inputs: list[Path], fmt: str, *more: str) -> Command:
        lenient = ("--max-error-rate", "1", "--workers", "1")
        return ("deliver", *map(str, inputs), "--lake", self.uri, "--format", fmt, *lenient, *more)

    def erase(self, *subjects: str, workers: int = 1) -> Command:
        named = (word for subject in subjects for word in ("--subject", subject))
        options = ("--max-match-share", "1", "--workers", str(workers))
        return ("erase", "--lake", self.uri, *named, *options)

    def compact(self) -> Command:
        options = ("--older-than", "1s", "--target-size", "40KB", "--workers", "1")
        return ("compact", "--lake", self.uri, *options)

    @property
    def uri(self) -> str:
        return self.store.uri

    def run(self, command: Command) -> None:
        run(command, self.env, self.folder / "log")


def named(someone: Person) -> str:
    return f"controller_customer_id={someone.user_id},email={someone.email}"


@dataclass
class Fire:
    """What goes on in a lake. ``inputs`` are those that were given to a delivery, by format."""

    site: Site
    chance: random.Random
    inputs: dict[str, list[Path]] = field(default_factory=lambda: {"parquet": [], "avro": []})
    subjects: list[Person] = field(default_factory=list)

    def rage(self, seconds: float) -> list[Worker]:
        """Let everybody work for so long, and wait for what they are at.

        A command that was killed last is given again: an erasure is remembered until it is done.
        """
        commands = self._all_commands()
        self.site.run(next(commands[0]))  # of nothing nothing can be erased
        workers = [self._worker(each) for each in commands]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for worker in workers:
                worker.go_on()
            time.sleep(0.005)
        for worker in workers:
            worker.end()
        for command in filter(None, (worker.command for worker in workers)):
            self.site.run(command)
        return workers

    def end(self) -> None:
        """Ask for all of it once more, undisturbed."""
        for fmt, inputs in self.inputs.items():
            self.site.run(self.site.deliver(inputs, fmt))
        self.site.run(self.site.erase(*map(named, self.subjects)))

    def _worker(self, commands: Iterator[Command]) -> Worker:
        is_local = isinstance(self.site.store, LocalObjectStore)
        return Worker(commands, self.site.folder, self.site.env, self.chance, is_local)

    def _all_commands(self) -> list[Iterator[Command]]:
        return [
            self._deliveries("parquet"),
            self._deliveries("avro"),
            self._erasures(0),
            self._erasures(1),
            iter(self.site.compact, None),
        ]

    def _deliveries(self, fmt: str) -> Iterator[Command]:
        for number in count(1):
            path = self.site.folder / f"{fmt}-{number}.ndjson"
            seed = 2 * number + (fmt == "avro")
            self.inputs[fmt].append(generated(path, RECORDS, seed, HOSTILE, DAYS))
            yield self.site.deliver(self.inputs[fmt][-3:], fmt)

    def _erasures(self, turn: int) -> Iterator[Command]:
        for number in range(turn, PEOPLE // 2, 2):
            self.subjects.append(person(number))
            yield self.site.erase(named(self.subjects[-1]), workers=1 + number % 3 // 2)
        yield from iter(lambda: self.site.erase(named(self.subjects[turn])), None)


# --- What the lake has to be ------------------------------------------------------------------


def rows_of(store: ObjectStore) -> list[Row]:
    """All rows of all files that a reader of the folders sees, in the order of their changes."""
    found = [row for info in store.list("type=") for row in _rows_in(info.key, store)]
    return sorted(found, key=lambda row: str(row["change_id"]))


def _rows_in(path: str, store: ObjectStore) -> list[Row]:
    content = io.BytesIO(store.read(path))
    if path.endswith(".avro"):
        return [dict(row) for row in fastavro.reader(content)]
    return list(pq.ParquetFile(content).read(use_threads=False).to_pylist())


def letters_of(store: ObjectStore) -> list[Row]:
    """All dead letters, but for when they were made."""
    lines = [line for info in store.list("errors/") for line in store.read(info.key).splitlines()]
    letters = [{**json.loads(line), "time": None} for line in lines]
    return sorted(letters, key=lambda letter: str(letter["id"]))


def is_row_of(someone: Person, row: Row) -> bool:
    address = row.get("address") if row.get("channel") == "email" else row.get("email")
    return row.get("user_id") == someone.user_id or address == someone.email


def is_letter_of(someone: Person, letter: Row) -> bool:
    text = str(letter["original"])
    if letter["encoding"] == "base64":
        text = base64.b64decode(text).decode("utf-8", "replace")
    words = (re.escape(someone.user_id), re.escape(someone.email))
    return re.search(rf"(?<![\w.@-])({'|'.join(words)})(?![\w@-])", text) is not None


def without(rows: list[Row], subjects: list[Person], belongs: Callable[..., bool]) -> list[Row]:
    return [row for row in rows if not any(belongs(one, row) for one in subjects)]


def assert_forgot(site: Site, subjects: list[Person], everything: ObjectStore) -> None:
    """The lake holds what ``everything`` does, each row once, less those of the subjects."""
    assert rows_of(site.store) == without(rows_of(everything), subjects, is_row_of)
    assert letters_of(site.store) == without(letters_of(everything), subjects, is_letter_of)


def assert_log_is_true(store: ObjectStore) -> None:
    """Every file that is there is in the log as it is, and the log names no other."""
    log = DeliveryLog(store)
    files = {file.path: file for file in lake_files(store, log)}
    named: set[str] = set()
    for commit in log.commits():
        named = (named - set(commit.removed)) | {file.path for file in commit.files}
    assert files.keys() == named
    for path, file in files.items():
        content = store.read(path)
        assert file.is_as_logged
        assert file.logged is not None
        assert hashlib.sha256(content).hexdigest() == file.logged.staged.sha256
        if not path.startswith("errors/"):
            assert len(_rows_in(path, store)) == file.logged.rows


def assert_tidy(store: ObjectStore) -> None:
    """Nobody has left anything behind."""
    assert DeliveryLog(store).positions().owed == ()
    for folder in ("_lethe/runs/", "_lethe/erasures/", "_lethe/work/", f"{STAGING}/"):
        assert [info.key for info in store.list(folder)] == []


# --- Tests ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load what the commands need, so that a fork has it."""
    build_app()
    import runners.compact
    import runners.deliver
    import runners.erase  # noqa: F401


@pytest.fixture
def local(tmp_path: Path) -> Site:
    env = environment({"LETHE_STATE__FOLDER": str(tmp_path / "state")})
    return Site(LocalObjectStore(tmp_path / "lake"), tmp_path, env)


@pytest.fixture
def on_s3(tmp_path: Path, moto_dynamodb_url: str) -> Site:
    name = f"lethe-{uuid.uuid4().hex}"
    make_bucket(moto_dynamodb_url, name)
    access = {
        "LETHE_S3__ENDPOINT_URL": moto_dynamodb_url,
        "LETHE_S3__REGION": REGION,
        "LETHE_S3__ACCESS_KEY": ACCESS_KEY,
        "LETHE_S3__SECRET_KEY": SECRET_KEY,
    }
    env = environment({"LETHE_STATE__FOLDER": str(tmp_path / "state"), **access})
    settings = S3Settings(moto_dynamodb_url, REGION, ACCESS_KEY, SECRET_KEY)
    return Site(S3ObjectStore(name, "lake", settings), tmp_path, env)


@pytest.mark.parametrize("where", ["local", "on_s3"])
def test_everybody_at_once_and_killed_loses_and_doubles_nothing_and_forgets(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    site: Site = request.getfixturevalue(where)
    fire = Fire(site, random.Random(SEED))
    workers = fire.rage(SECONDS)
    fire.end()
    everything = undisturbed(fire.inputs, tmp_path / "everything")
    assert_forgot(site, fire.subjects, everything)
    assert_log_is_true(site.store)
    assert_tidy(site.store)
    assert any(worker.killed for worker in workers)


def undisturbed(inputs: dict[str, list[Path]], folder: Path) -> ObjectStore:
    """A lake to which the same was delivered, and in which nothing else happened."""
    folder.mkdir()
    env = environment({"LETHE_STATE__FOLDER": str(folder / "state")})
    site = Site(LocalObjectStore(folder / "lake"), folder, env)
    for fmt, paths in inputs.items():
        site.run(site.deliver(paths, fmt))
    return site.store
