"""What is switched off is closed, and nothing else is; a flag that there is not is an error."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.errors import UsageError
from service.app import create_app
from service.bootstrap import Wiring
from service.flags import FLAGS, Flags


def with_flags(wiring: Wiring, **flags: bool) -> Wiring:
    service = wiring.settings.service.model_copy(update={"flags": flags})
    return replace(wiring, settings=wiring.settings.model_copy(update={"service": service}))


def test_everything_is_on_unless_it_is_said_otherwise() -> None:
    assert all(Flags({}).enabled(name) for name in FLAGS)


def test_a_flag_that_is_off_is_off() -> None:
    flags = Flags({"uploads": False, "docs": True})
    assert [flags.enabled(name) for name in ("uploads", "docs", "sockets")] == [False, True, True]


def test_a_name_that_is_no_flag_is_an_error_at_the_start(wiring: Wiring) -> None:
    with pytest.raises(UsageError, match=r"'uplaods' is no flag: choose from .*uploads"):
        create_app(with_flags(wiring, uplaods=False))


def test_code_that_asks_for_no_flag_is_mistaken() -> None:
    with pytest.raises(KeyError):
        Flags({}).enabled("uplaods")


@pytest.mark.parametrize("name", sorted(FLAGS))
def test_a_flag_closes_addresses_that_there_are(wiring: Wiring, name: str) -> None:
    rules = create_app(wiring).url_map.iter_rules()
    there = {(method, rule.rule) for rule in rules for method in rule.methods or ()}
    assert FLAGS[name].closes <= there


def test_what_is_off_is_unavailable(wiring: Wiring) -> None:
    answer = create_app(with_flags(wiring, docs=False)).test_client().get("/openapi/openapi.json")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["error"]["details"] == {"flag": "docs"}
    assert "Retry-After" in answer.headers


def test_what_is_on_is_there_while_something_is_off(wiring: Wiring) -> None:
    asking = create_app(with_flags(wiring, uploads=False)).test_client()
    assert asking.get("/openapi/openapi.json").status_code == 200
