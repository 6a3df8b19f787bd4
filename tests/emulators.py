"""Emulators of AWS that answer over real HTTP, each a process of its own on a free port.

moto is a test requirement. ministack pins other versions of what Lethe needs, so it gets a virtual
environment in the user's cache folder, made when it is first asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.waiting import PATIENCE

MINISTACK = "ministack==1.5.33"
ACCESS_KEY = SECRET_KEY = "testing"
REGION = "us-east-1"

_MOTO_ONE_AT_A_TIME = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app))
"""


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The endpoint of a moto server."""
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, {}, f"http://127.0.0.1:{port}", "/moto-api/data.json") as url:
        yield url


@pytest.fixture(scope="session")
def moto_dynamodb_url() -> Iterator[str]:
    """The endpoint of a moto that answers one request at a time.

    Its DynamoDB is for one thread: of two who add to a number at once, one is lost.
    """
    port = _free_port()
    command = [sys.executable, "-c", _MOTO_ONE_AT_A_TIME, str(port)]
    with _running(command, {}, f"http://127.0.0.1:{port}", "/moto-api/data.json") as url:
        yield url


@pytest.fixture(scope="session")
def ministack_url() -> Iterator[str]:
    """The endpoint of a ministack, or a skipped test where it cannot be installed."""
    python = _ministack_python()
    port = _free_port()
    settings = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "s3,dynamodb",
        "DOCKER_HOST": "",
        "LOG_LEVEL": "WARNING",
    }
    url = f"http://127.0.0.1:{port}"
    with _running([str(python), "-m", "ministack"], settings, url, "/_ministack/health"):
        yield url


def make_bucket(url: str, name: str) -> None:
    s3_client(url).create_bucket(Bucket=name)


def s3_client(url: str) -> boto3.client:
    """A plain client, to look behind the store's back."""
    return _client("s3", url)


def kinesis_client(url: str) -> boto3.client:
    """A plain client, to make streams and to put records."""
    return _client("kinesis", url)


def dynamodb_client(url: str) -> boto3.client:
    """A plain client, to look behind the store's back."""
    return _client("dynamodb", url)


def sqs_client(url: str) -> boto3.client:
    """A plain client, to make queues and to look into them."""
    return _client("sqs", url)


def _client(service: str, url: str) -> boto3.client:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], settings: dict[str, str], url: str, health: str) -> Iterator[str]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_answer(process, url + health)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not answer at {url}")


def _ministack_python() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lethe"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / MINISTACK.replace("==", "-")
    with (cache / "ministack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install_ministack(folder)
    return folder / "bin" / "python"


def _install_ministack(folder: Path) -> None:
    done = folder / "installed"
    if done.exists():
        return
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", MINISTACK]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], pip):
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if result.returncode:
            reason = (result.stderr or result.stdout).strip().splitlines()[-1:]
            pytest.skip(f"{MINISTACK} cannot be installed: {reason}")
    done.touch()
