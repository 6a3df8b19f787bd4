"""Closed requests lose their subject by what the dispatcher has cleared away hourly."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from schemas.access import Reach
from service.bootstrap import Wiring
from service.dispatch.task import post_of
from tests.integration.service.principals import Client, somebody

ANYWHERE = Reach(None)


def swept(wiring: Wiring, days: int) -> None:
    later = replace(wiring, clock=lambda: wiring.clock() + timedelta(days=days))
    post_of(later, wiring.state).sweep()
    for thread in threading.enumerate():
        if thread.name == "sweep":
            thread.join()


def closed(client: Client) -> str:
    privacy = client(somebody("privacy"))
    body = {"type": "gdpr_delete", "email": "ana.canary@example.com"}
    answer = privacy.post("/v1/dsr", json=body)
    assert answer.json is not None
    privacy.delete(f"/v1/dsr/{answer.json['id']}")
    return str(answer.json["id"])


def test_closed_request_is_minimised_when_its_time_is_over(client: Client, wiring: Wiring) -> None:
    request_id = closed(client)
    swept(wiring, days=91)
    bare = wiring.state.dsr.get(request_id, ANYWHERE)
    assert bare is not None
    assert (bare.subjects, bare.sealed) == ((), b"")
    assert bare.minimised_at is not None


def test_closed_request_keeps_its_subject_until_then(client: Client, wiring: Wiring) -> None:
    request_id = closed(client)
    swept(wiring, days=89)
    kept = wiring.state.dsr.get(request_id, ANYWHERE)
    assert kept is not None
    assert kept.subjects
