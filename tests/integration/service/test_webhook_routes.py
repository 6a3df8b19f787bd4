"""Webhooks over HTTP: who may register what, and what they are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask.testing import FlaskClient

from config.settings import Settings
from schemas.access import Reach
from service.bootstrap import Wiring
from stores.webhooks.keys import WebhookKeys
from tests.integration.service.principals import (
    ADMIN,
    OPERATOR,
    STRANGER,
    VIEWER,
    Client,
    somebody,
)

PUBLIC = "https://93.184.216.34/hook?token=canary"
PRIVACY = somebody("privacy")
SUBMITTER = somebody("submitter", subject="user-2")


def register(client: FlaskClient, url: str = PUBLIC, *kinds: str, **headers: str) -> Any:
    body = {"url": url, "kinds": list(kinds or ["dsr"])}
    return client.post("/v1/webhooks", json=body, headers=headers)


def created(client: FlaskClient, *kinds: str) -> dict[str, Any]:
    answer = register(client, PUBLIC, *kinds)
    assert answer.status_code == 201, answer.json
    found: dict[str, Any] = answer.json
    return found


def test_key_is_shown_once_and_is_the_one_that_signs(client: Client, wiring: Wiring) -> None:
    asked = client(PRIVACY)
    made = created(asked)
    assert made["keyId"] == "k1"
    assert made["key"] == WebhookKeys(wiring.parameters).secret(made["id"], 1)
    shown = asked.get(f"/v1/webhooks/{made['id']}").json
    assert shown is not None
    assert "key" not in shown
    assert [hook["id"] for hook in asked.get("/v1/webhooks").json["items"]] == [made["id"]]


def test_no_key_is_in_the_state(client: Client, wiring: Wiring, settings: Settings) -> None:
    made = created(client(PRIVACY))
    wiring.state.close()
    for file in settings.state.folder.rglob("*"):
        assert not file.is_file() or made["key"].encode() not in file.read_bytes()


def test_repeat_under_a_key_of_idempotency_is_the_same_webhook(client: Client) -> None:
    asked, headers = client(PRIVACY), {"Idempotency-Key": "a-key-of-one"}
    first, second = (register(asked, **headers).json for _ in range(2))
    assert (first["id"], first["key"]) == (second["id"], second["key"])


def test_rotation_gives_another_key(client: Client) -> None:
    asked = client(PRIVACY)
    made = created(asked)
    rotated = asked.post(f"/v1/webhooks/{made['id']}:rotate").json
    assert rotated is not None
    assert (rotated["keyId"], rotated["key"] == made["key"]) == ("k2", False)


def test_disabled_webhook_is_enabled_again(client: Client, wiring: Wiring) -> None:
    asked = client(PRIVACY)
    made = created(asked)
    hook = wiring.state.webhooks.get(made["id"], Reach(None))
    assert hook is not None
    wiring.state.webhooks.change(replace(hook, failures=9, disabled_at=hook.created_at))
    enabled = asked.post(f"/v1/webhooks/{made['id']}:enable").json
    assert enabled is not None
    assert (enabled["failures"], enabled["disabledAt"]) == (0, None)


def test_deleted_webhook_is_not_there(client: Client) -> None:
    asked = client(PRIVACY)
    made = created(asked)
    assert asked.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    assert asked.get(f"/v1/webhooks/{made['id']}").status_code == 404


def test_webhook_of_others_is_as_one_that_is_not_there(client: Client) -> None:
    made, stranger = created(client(PRIVACY)), client(STRANGER)
    for method, action in (("get", ""), ("delete", ""), ("post", ":rotate"), ("post", ":enable")):
        theirs = getattr(stranger, method)(f"/v1/webhooks/{made['id']}{action}")
        nobodys = getattr(stranger, method)(f"/v1/webhooks/{'0' * 32}{action}")
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.json["error"]["message"] == nobodys.json["error"]["message"]


def test_who_may_not_register_is_refused(client: Client) -> None:
    assert register(client(VIEWER)).status_code == 403


def test_kind_that_one_may_not_read_is_refused(client: Client) -> None:
    assert register(client(PRIVACY), PUBLIC, "dsr", "job").status_code == 403
    assert register(client(OPERATOR), PUBLIC, "dsr", "job", "run").status_code == 201


def test_who_reads_only_their_own_is_told_only_of_that(client: Client, wiring: Wiring) -> None:
    made = created(client(SUBMITTER), "job")
    hook = wiring.state.webhooks.get(made["id"], Reach(None))
    assert hook is not None
    assert (hook.organization, hook.of_owner) == ("org-1", "user-2")
    assert client(somebody("submitter")).get(f"/v1/webhooks/{made['id']}").status_code == 404


def test_webhook_of_an_admin_hears_of_their_own_organization(
    client: Client, wiring: Wiring
) -> None:
    made = created(client(ADMIN))
    hook = wiring.state.webhooks.get(made["id"], Reach(None))
    assert hook is not None
    assert (hook.organization, hook.of_owner) == ("org-1", None)


BAD_URLS = (
    "http://93.184.216.34/canary",
    "https://127.0.0.1/canary",
    "https://localhost/canary",
    "https://169.254.169.254/canary",
    "https://10.0.0.1/canary",
    "https://[::1]/canary",
    "https://[::ffff:10.0.0.1]/canary",
    "https://2130706433/canary",
    "https://user:canary@93.184.216.34/",
    "file:///etc/passwd?canary",
)


def test_address_that_is_not_public_is_refused_without_repeating_it(client: Client) -> None:
    asked = client(PRIVACY)
    for url in BAD_URLS:
        answer = register(asked, url)
        assert answer.status_code == 422, url
        assert "canary" not in answer.text


def test_name_that_is_not_there_is_refused_as_one_that_is_inside(client: Client) -> None:
    asked = client(PRIVACY)
    inside, nowhere = (
        register(asked, url).json["error"]["message"]
        for url in ("https://localhost/", "https://does-not-exist.invalid/")
    )
    assert inside == nowhere


def test_organization_has_only_so_many(client: Client, wiring: Wiring) -> None:
    asked = client(PRIVACY)
    for _ in range(wiring.settings.webhooks.max_per_organization):
        created(asked)
    answer = register(asked)
    assert (answer.status_code, answer.json["error"]["details"]["reason"]) == (409, "full")
