"""Data subject requests as WebSockets are told of them: by events, without personal data."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from schemas.access import Reach
from schemas.errors import Forbidden
from schemas.events import Topic
from service.bootstrap import Wiring
from service.live.messages import Watched
from service.live.opening import Reader, sources
from service.live.watches import Begun, BegunAll, Missing
from tests.integration.service.principals import Client, somebody

PRIVACY = somebody("privacy")
ORG = Reach("org-1")


@pytest.fixture
def privacy(client: Client) -> FlaskClient:
    return client(PRIVACY)


@pytest.fixture
def reader(wiring: Wiring) -> Reader:
    return Reader(sources(wiring.state), wiring.state.outbox)


def submitted(asker: FlaskClient) -> str:
    body = {"type": "gdpr_delete", "email": "ana.canary@example.com"}
    answer = asker.post("/v1/dsr", json=body)
    assert answer.json is not None
    return str(answer.json["id"])


def test_each_change_is_an_event_that_shows_the_request(
    privacy: FlaskClient, wiring: Wiring
) -> None:
    request_id = submitted(privacy)
    privacy.delete(f"/v1/dsr/{request_id}")
    events = wiring.state.outbox.of(Topic("dsr", request_id), 0, 10)
    assert [(e.version, e.payload["status"]) for e in events] == [(1, "queued"), (2, "cancelled")]
    assert "canary" not in json.dumps([dict(event.payload) for event in events])


def test_watching_one_begins_with_its_state(privacy: FlaskClient, reader: Reader) -> None:
    request_id = submitted(privacy)
    opening = reader.read(Watched("dsr", request_id), None, ORG, 0)
    assert isinstance(opening, Begun)
    assert (opening.state.version, opening.state.payload["id"]) == (1, request_id)


def test_watching_all_begins_with_the_newest(privacy: FlaskClient, reader: Reader) -> None:
    request_id = submitted(privacy)
    opening = reader.read(Watched("dsr"), None, ORG, 0)
    assert isinstance(opening, BegunAll)
    assert [state.watched.name for state in opening.states] == [f"dsr:{request_id}"]


def test_what_is_out_of_reach_is_not_there(privacy: FlaskClient, reader: Reader) -> None:
    request_id = submitted(privacy)
    opening = reader.read(Watched("dsr", request_id), None, Reach("org-2"), 0)
    assert isinstance(opening, Missing)


def test_watching_needs_the_right_to_read(reader: Reader) -> None:
    with pytest.raises(Forbidden):
        reader.reach(somebody("submitter"), Watched("dsr"))
