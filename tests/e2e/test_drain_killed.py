"""`lethe dsr drain` killed in the midst, against a processor in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from config.dsr import DsrSection
from config.sections import ParameterSection, ParameterSource
from dsr.desk import open_desk
from dsr.drain import LEASE
from dsr.submit import Order, Submitter, request_id_of, submit
from schemas.access import Reach
from schemas.dsr import DsrQuery, DsrStatus, Identity, IdentityType
from stores.parameters import open_parameters
from stores.state.sql import SqlState, open_state
from tests.mock_processor import RunningProcessor, running_processor
from tests.service_process import service_environment

COUNT = 40
ALL = Reach(None)
DRAIN = [sys.executable, "-m", "runners.cli", "dsr", "drain"]


def environment(folder: Path, processor: RunningProcessor) -> Mapping[str, str]:
    regions = [{"name": "eu", "url": processor.specification_url}]
    one = {"dialect": "opendsr-2.0", "regions": regions, "settle_seconds": 0.5}
    quick = {"first_pause_seconds": 0.2, "longest_pause_seconds": 0.5, "concurrency": 2}
    more = {"LETHE_PROCESSORS": json.dumps({"one": one}), "LETHE_DRAIN": json.dumps(quick)}
    return service_environment(folder, more)


def submitted(folder: Path, state: SqlState) -> list[str]:
    parameters = open_parameters(
        ParameterSection(source=ParameterSource.FILE, folder=folder / "keys")
    )
    desk = open_desk(DsrSection(), state, parameters, lambda: datetime.now(UTC))
    by = Submitter("user-1", "org-1", Reach("org-1"))
    return [
        submit(
            desk,
            Order("gdpr_delete", [Identity(IdentityType.EMAIL, f"canary{n}@example.com")]),
            by,
            request_id_of(f"{n:032x}"),
        ).id
        for n in range(COUNT)
    ]


@contextmanager
def draining(env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*DRAIN, "--follow"], env=env, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def killed_after(env: Mapping[str, str], processor: RunningProcessor, received: int) -> None:
    """A drain that is killed as soon as the processor has so many requests."""
    with draining(env) as process:
        until = time.monotonic() + 30
        while len(processor.received()) < received:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)


def released(state: SqlState) -> None:
    """Have the next one begin at once, not when the lease of the one that died has run out."""
    lease = state.leases.current(LEASE)
    assert lease is not None
    state.leases.release(lease)


def test_every_request_arrives_once_though_the_drain_is_killed_twice(tmp_path: Path) -> None:
    with (
        running_processor(latency=0.03) as processor,
        closing(open_state(f"sqlite:///{tmp_path / 'state' / 'state.db'}")) as state,
    ):
        env = environment(tmp_path, processor)
        ids, queued = submitted(tmp_path, state), DsrQuery(status=DsrStatus.QUEUED)
        for received in (5, 15):
            killed_after(env, processor, received)
            released(state)
        with draining(env):
            until = time.monotonic() + 30
            while state.dsr.find(queued, ALL) and time.monotonic() < until:
                time.sleep(0.05)
        assert state.dsr.find(queued, ALL) == []
        assert sorted(processor.received()) == sorted(ids)
