"""Emulators of Kinesis. Each shows a part of what the service does, and none all of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators import (
    ACCESS_KEY,
    SECRET_KEY,
    _await_answer,
    _free_port,
    _ministack_python,
    _running,
    moto_url,
)
from tests.integration.streams.emulated import Emulated, KinesisFaultProxy

__all__ = ["moto_url"]  # a fixture: pytest finds it here

KINESIS_LOCAL = "kinesis-local@0.6.2"
_CACHE = Path(__file__).parents[3] / "build" / "emulators"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture(scope="session")
def kinesis_local_url() -> Iterator[str]:
    """The endpoint of a kinesis-local, or a skipped test where it cannot be installed."""
    folder = _kinesis_local()
    port, other = _free_port(), _free_port()
    settings = {
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(other),
        "LOG_LEVEL": "ERROR",
        "SHARD_LIMIT": "1000",
        "CREATE_STREAM_DURATION": "50ms",
        "SPLIT_SHARD_DURATION": "50ms",
        "MERGE_SHARDS_DURATION": "50ms",
    }
    url = f"http://127.0.0.1:{port}"
    # It looks for its certificate in the folder that it is started in.
    with subprocess.Popen(
        ["node", "main.js"], cwd=folder, env={**os.environ, **settings}, stdout=subprocess.DEVNULL
    ) as process:
        _await_answer(process, url + "/healthcheck")
        yield url
        process.kill()  # asked politely, it waits for its connections to be closed


@pytest.fixture(scope="session")
def ministack_kinesis_url() -> Iterator[str]:
    """The endpoint of a ministack with Kinesis, or a skipped test where it cannot be installed."""
    python, port = _ministack_python(), _free_port()
    settings = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "kinesis",
        "DOCKER_HOST": "",
        "LOG_LEVEL": "WARNING",
    }
    url = f"http://127.0.0.1:{port}"
    with _running([str(python), "-m", "ministack"], settings, url, "/_ministack/health"):
        yield url


@pytest.fixture
def resharding(kinesis_local_url: str) -> Emulated:
    """A stream of two shards that can be split and merged."""
    return Emulated(kinesis_local_url, kinesis_local_url).create(2)


@pytest.fixture
def faulty(kinesis_local_url: str) -> Iterator[tuple[Emulated, KinesisFaultProxy]]:
    """The same, read through a proxy that makes faults."""
    with KinesisFaultProxy(kinesis_local_url) as proxy:
        yield Emulated(kinesis_local_url, proxy.url).create(2), proxy


@pytest.fixture(params=["moto_url", "ministack_kinesis_url", "kinesis_local_url"])
def any_stream(request: pytest.FixtureRequest) -> Emulated:
    url = request.getfixturevalue(request.param)
    return Emulated(url, url).create(2)


def _kinesis_local() -> Path:
    """The folder of the package, which npm installs the first time."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("kinesis-local needs Node.js: there is no npm or node on the PATH")
    folder = _CACHE / KINESIS_LOCAL.replace("@", "-")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "kinesis-local.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder)
    return folder / "node_modules" / "kinesis-local"


def _install(folder: Path) -> None:
    done = folder / "installed"
    if done.exists():
        return
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), KINESIS_LOCAL]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ}
    )
    if result.returncode:
        pytest.skip(f"{KINESIS_LOCAL} cannot be installed: {result.stderr.strip()[-200:]}")
    done.touch()
