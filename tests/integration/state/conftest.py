"""Every kind of state store, each test with an empty one and a clock that it sets itself."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.emulators import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    dynamodb_client,
    ministack_url,
    moto_dynamodb_url,
)
from tests.integration.state.records import AnyState, Clock, opened
from tests.waiting import PATIENCE

__all__ = ["ministack_url", "moto_dynamodb_url"]  # fixtures: pytest finds them here

SQL = ["sqlite", "postgresql"]
DYNAMO = {"dynamodb on moto": "moto_dynamodb_url", "dynamodb on ministack": "ministack_url"}
"""Its emulators, by the fixture that gives the endpoint."""

KINDS = [*SQL, *DYNAMO]
"""Every kind that the contract suite runs on."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=SQL)
def sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return _empty(request, tmp_path)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty state store."""
    return _empty(request, tmp_path)


@pytest.fixture
def state(url: str, clock: Clock) -> Iterator[AnyState]:
    state = opened(url, clock)
    yield state
    state.close()


def _empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'state.db'}"
    if request.param in DYNAMO:
        return new_table(request, request.getfixturevalue(DYNAMO[request.param]))
    return empty_database(request.getfixturevalue("postgres_url"))


def new_table(request: pytest.FixtureRequest, endpoint: str) -> str:
    """The URL of a table that opening it makes; whatever opens it finds credentials for it.

    It is taken away in the end: moto copies all tables for each transaction.
    """
    request.getfixturevalue("credentials")
    name = f"lethe-{uuid.uuid4().hex}"
    request.addfinalizer(lambda: remove_table(endpoint, name))
    return f"dynamodb://{name}?region={REGION}&endpoint={endpoint}"


def remove_table(endpoint: str, name: str) -> None:
    client = dynamodb_client(endpoint)
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.delete_table(TableName=name)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What emulators take for credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def postgres(postgres_url: str) -> str:
    """The URL of an empty database of PostgreSQL, for what it alone does."""
    return empty_database(postgres_url)


def empty_database(server: str) -> str:
    name = f"lethe_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server}/{name}"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this machine's package, on a free port."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="lethe-postgres-") as name:
        folder, who = Path(name), _not_root()
        if who:
            shutil.chown(folder, **who)
        init = [programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "lethe", "-N"]
        subprocess.run(init, check=True, capture_output=True, cwd=folder, **who)
        yield from _served(programs, folder, who)


def _served(programs: Path, folder: Path, who: dict[str, Any]) -> Iterator[str]:
    port = _free_port()
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    command = [programs / "postgres", "-D", folder / "data", *options]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, **who) as server:
        try:
            url = f"postgresql://lethe@127.0.0.1:{port}"
            _wait_for(url)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # it would wait for connections at SIGTERM


def _wait_for(url: str) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(f"{url}/postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _programs() -> Path | None:
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


def _not_root() -> dict[str, Any]:
    """PostgreSQL will not run as root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    return {"user": "postgres" if "postgres" in known else "nobody"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
