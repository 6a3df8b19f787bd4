"""What is loaded with Beam, seen from a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded(*commands: str) -> set[str]:
    """The modules of a process that has done this."""
    code = "; ".join([*commands, "import sys; print(*sys.modules)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("client", ["boto3", "pymongo", "apache_beam.io.gcp.bigquery"])
def test_delivery_does_not_load_clients_that_it_does_not_use(client: str) -> None:
    modules = loaded("import runners.choose, runners.deliver, runners.direct")
    assert "apache_beam" in modules
    assert client not in modules


def test_clients_can_be_imported_afterwards() -> None:
    assert "boto3" in loaded("import runners.choose", "import boto3")


def test_clients_that_are_loaded_stay() -> None:
    assert "boto3" in loaded("import boto3", "import runners.choose")
