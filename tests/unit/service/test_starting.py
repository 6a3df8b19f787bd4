"""What has to be right before the service starts, and what it waits for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from config.service import AuthSection, ServiceSection, is_loopback
from config.settings import Settings
from runners.commands import serve
from schemas.errors import StoreUnavailable, UsageError
from service.bootstrap import Wiring
from service.wsgi import wire_patiently

WIRING = cast(Wiring, object())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_addresses_of_this_machine_alone_need_no_keys(host: str) -> None:
    assert is_loopback(host)
    ServiceSection(host=host).require_keys()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "", "lethe.example", "0"])
def test_any_other_address_needs_keys(host: str) -> None:
    with pytest.raises(UsageError, match="no keys are configured"):
        ServiceSection(host=host).require_keys()
    ServiceSection(host=host, auth=AuthSection(keys_parameter="token-keys")).require_keys()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_NEEDED", ("flask", "no_such_package"))
    with pytest.raises(UsageError, match=r"no_such_package.*lethe\[service\]"):
        serve.command()


def test_worker_waits_for_its_database() -> None:
    outcomes: list[Any] = [StoreUnavailable("locked"), StoreUnavailable("locked"), WIRING]
    slept: list[float] = []
    assert wire_patiently(Settings(), lambda _: give(outcomes.pop(0)), slept.append) is WIRING
    assert slept == [1.0, 1.0]


def test_worker_that_waited_in_vain_leaves_so_that_another_is_started() -> None:
    with pytest.raises(SystemExit):
        wire_patiently(Settings(), lambda _: give(StoreUnavailable("down")), lambda _: None)


def give(outcome: Any) -> Wiring:
    if isinstance(outcome, Exception):
        raise outcome
    return cast(Wiring, outcome)
