"""Workers tell an engine what failed, and no values."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_fn_api_pb2
from hypothesis import given
from hypothesis import strategies as st

from runners.engines.processes import free_ports, start_tied, stop, wait_for_port
from runners.engines.worker import SafeResponses, without_values
from runners.engines.worker_pool import modules, own_command
from tests.waiting import wait_until
from transforms.shards import StreamGap

TRACE = """Traceback (most recent call last):
  File "/app/transforms/read.py", line 7, in read
    raise KeyError("ana@example.com")
KeyError: 'ana@example.com'
"""


def test_message_of_an_unknown_error_is_left_out() -> None:
    assert without_values(TRACE).splitlines()[-2:] == [
        '  File "/app/transforms/read.py", line 7, in read', "KeyError",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "schemas.errors.InputError: a.ndjson: has changed [while running 'Read']",
        f"{StreamGap.__module__}.StreamGap: kinesis://r/s/1: records expired",
    ],
)
def test_message_of_an_own_error_is_kept(line: str) -> None:
    assert without_values(TRACE + line).endswith(line)


def test_message_of_another_error_of_our_modules_is_left_out() -> None:
    line = "transforms.attributes.NotAnAttribute: ana@example.com"
    assert without_values(TRACE + line).endswith("\ntransforms.attributes.NotAnAttribute")


@given(st.text(alphabet="ana@example.com +491", min_size=8).filter(lambda t: t.strip()))
def test_values_in_a_message_never_pass(value: str) -> None:
    assert "@" not in without_values(f"Traceback:\nValueError: @{value}\n  more: @{value}")


def test_answers_are_cleaned_on_their_way() -> None:
    responses = SafeResponses()
    responses.put(beam_fn_api_pb2.InstructionResponse(instruction_id="1", error=TRACE))
    assert "ana@" not in responses.get().error


def test_pool_ends_at_sigterm() -> None:
    (port,) = free_ports(1)
    pool = start_tied(own_command(port), env=modules())
    assert wait_for_port(pool, port, 30)
    pool.send_signal(signal.SIGTERM)
    assert pool.wait(15) == 0


def test_process_dies_with_the_one_that_started_it() -> None:
    code = (
        "from runners.engines.processes import start_tied; import time;"
        "print(start_tied(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: not _alive(child), "the child's end", 10)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_stopped_process_is_gone() -> None:
    process = start_tied(["sleep", "60"])
    stop(process)
    assert process.returncode is not None
