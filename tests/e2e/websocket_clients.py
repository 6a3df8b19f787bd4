"""Clients of a running service's WebSocket, and a writer that changes what they watch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from config.settings import load_settings
from runners.runs import owner_here, state_of
from schemas.events import Event, Topic
from schemas.jobs import Job, JobStatus
from schemas.runs import RunRecord, RunStatus
from stores.state.service_port import Stores
from tests.service_process import Service
from tests.waiting import PATIENCE


@dataclass
class Talker:
    """One end of a conversation."""

    socket: ClientConnection

    def say(self, kind: str, **data: Any) -> None:
        self.socket.send(json.dumps({"type": kind, "data": data}))

    def hear(self) -> Any:
        return json.loads(self.socket.recv(PATIENCE))

    def ask(self, kind: str, **data: Any) -> Any:
        self.say(kind, **data)
        return self.hear()

    def subscribe(self, names: str) -> Any:
        return self.ask("message", action="subscribe", message=names)

    def resume(self, names: str) -> Any:
        return self.ask("message", action="resume", message=names)

    def hear_updates(self, count: int) -> list[int]:
        """The versions of so many updates."""
        return [self.hear()["data"]["version"] for _ in range(count)]

    def close_code(self) -> int | None:
        """The code of the close that comes, after whatever else comes before."""
        try:
            while True:
                self.socket.recv(PATIENCE)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


@contextmanager
def talking(service: Service, token: str | None = None, **options: Any) -> Iterator[Talker]:
    """A connection, authenticated if there is a token."""
    url = service.url.replace("http", "ws", 1) + "/ws"
    with connect(url, close_timeout=5, **options) as socket:
        talker = Talker(socket)
        if token is not None:
            answer = talker.ask("auth", action="authenticate", token=token)
            assert answer["data"]["action"] == "authenticated", answer
        yield talker


@dataclass
class Writer:
    """Another process's hold on the state: what it commits, the service is to tell."""

    state: Stores

    def add_job(self, organization: str = "org-1", owner: str = "user-1") -> str:
        """A job that is done, which nobody looks after any more."""
        id_, now = f"job-{uuid4().hex[:12]}", datetime.now(UTC)
        job = Job(
            id_, "enrichment", organization, owner, uuid4().hex, JobStatus.COMPLETED, now, now, "in"
        )
        self.state.jobs.add([job])
        return id_

    def add_run(self) -> str:
        """A running run of this process, at version 2."""
        id_, now, owner = f"run-{uuid4().hex[:12]}", datetime.now(UTC), owner_here()
        run = RunRecord(id_, "deliver", RunStatus.QUEUED, owner, now, now)
        self.state.runs.add(replace(run, organization="org-1", requested_by="user-1"))
        self.state.runs.begin(id_, owner)
        return id_

    def advance(self, run_id: str, count: int) -> None:
        """One version more."""
        assert self.state.runs.beat(run_id, {"records": count})

    def tell(self, topic_id: str, version: int, payload: Any) -> None:
        """An event of no job that there is."""
        now = datetime.now(UTC)
        event = Event(Topic("job", topic_id), version, "org-1", "user-1", now, payload)
        self.state.outbox.append(event)


@contextmanager
def writing(service: Service) -> Iterator[Writer]:
    """A writer beside the service."""
    settings = load_settings(state={"folder": service.env["LETHE_STATE__FOLDER"]})
    state: Any = state_of(settings)
    try:
        yield Writer(state)
    finally:
        state.close()
