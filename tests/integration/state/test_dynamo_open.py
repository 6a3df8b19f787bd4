"""Opening a state store in DynamoDB: the table is looked at, and only an emulator's is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from schemas.errors import AccessDenied, StoreUnavailable, UsageError
from stores.state.dynamo.layout import create_table_request
from stores.state.opening import open_stores
from tests.emulators import REGION, dynamodb_client
from tests.integration.state.conftest import new_table
from tests.integration.state.records import run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def url(request: pytest.FixtureRequest, ministack_url: str) -> str:
    return new_table(request, ministack_url)


def table_of(url: str) -> str:
    return urlsplit(url).netloc


@pytest.fixture
def as_at_aws(
    url: str, ministack_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """Opens the same table, where the URL names no endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", ministack_url)
    return lambda: open_stores(f"dynamodb://{table_of(url)}?region={REGION}")


def test_what_was_kept_is_there_when_it_is_opened_again(url: str) -> None:
    first = open_stores(url)
    first.runs.add(run())
    first.close()
    assert open_stores(url).runs.get("r1") == run()


def test_a_table_that_is_not_there_is_not_made_at_aws(as_at_aws: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"does not exist: create it as docs/dynamodb\.md says"):
        as_at_aws()


def test_a_table_made_as_the_guide_says_is_taken(
    url: str, ministack_url: str, as_at_aws: Callable[[], object]
) -> None:
    dynamodb_client(ministack_url).create_table(**create_table_request(table_of(url)))
    assert as_at_aws() is not None


@pytest.mark.parametrize("spoilt", ["KeySchema", "GlobalSecondaryIndexes"])
def test_a_table_of_something_else_is_refused(url: str, ministack_url: str, spoilt: str) -> None:
    request = create_table_request(table_of(url))
    part = request[spoilt]
    del part[-1]
    used = {key["AttributeName"] for key in request["KeySchema"]}
    for index in request["GlobalSecondaryIndexes"]:
        used |= {key["AttributeName"] for key in index["KeySchema"]}
    defined = request["AttributeDefinitions"]
    request["AttributeDefinitions"] = [one for one in defined if one["AttributeName"] in used]
    dynamodb_client(ministack_url).create_table(**request)
    with pytest.raises(UsageError, match="has not the keys and indexes"):
        open_stores(url)


def test_many_processes_may_open_a_new_store_at_once(url: str) -> None:
    code = "import sys; from stores.state.opening import open_stores; open_stores(sys.argv[1])"
    command = [sys.executable, "-c", code, url]
    racers = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [racer.communicate(timeout=60)[1] for racer in racers] == [""] * 3


def test_events_of_several_processes_get_places_without_a_gap(url: str) -> None:
    code = (
        "import sys; from stores.state.opening import open_stores;"
        "from tests.integration.state.records import run;"
        "state = open_stores(sys.argv[1]);"
        "[state.runs.add(run(f'{sys.argv[2]}-{n}')) for n in range(25)]"
    )
    state = open_stores(url)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, url, str(number)], cwd=ROOT)
        for number in range(3)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 3
    assert [stored.place for stored in state.outbox.after(0, 99)] == [*range(1, 76)]


def test_a_server_that_does_not_answer_is_unavailable(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", abs)
    with pytest.raises(StoreUnavailable, match="dynamodb://lethe"):
        open_stores(f"dynamodb://lethe?region={REGION}&endpoint=http://127.0.0.1:1")


def test_without_credentials_access_is_denied(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(AccessDenied, match="no usable credentials"):
        open_stores(url)


def test_without_a_region_it_says_what_is_missing(
    ministack_url: str, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(UsageError, match="region"):
        open_stores(f"dynamodb://lethe?endpoint={ministack_url}")


def test_other_kinds_of_state_do_not_load_the_sdk(tmp_path: Path) -> None:
    code = (
        "import sys; from stores.state.opening import open_stores;"
        "open_stores(sys.argv[1]).close(); sys.exit('boto3' in sys.modules)"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'state.db'}"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
