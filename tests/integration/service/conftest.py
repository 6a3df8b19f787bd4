"""The application on a temporary SQLite file and folder, asked without a socket.

client(principal) asks as somebody; client(None) as nobody.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flask_openapi.openapi
import flask_openapi.utils
import pytest
from flask import Request
from flask.testing import FlaskClient

from config.settings import Settings, load_settings
from schemas.access import Principal
from schemas.errors import NotAuthenticated
from service.app import create_app
from service.bootstrap import Wiring, wire
from tests.integration.service.principals import Client


@pytest.fixture(scope="session", autouse=True)
def models_described_once() -> Iterator[None]:
    """Each test makes the application, and this is nearly all of the time that takes."""
    described = functools.cache(flask_openapi.utils.get_model_schema)

    def of_model(*asked: Any, **more: Any) -> dict[str, Any]:
        return copy.deepcopy(described(*asked, **more))

    with pytest.MonkeyPatch.context() as patch:
        for module in (flask_openapi.utils, flask_openapi.openapi):
            patch.setattr(module, "get_model_schema", of_model)
        yield


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LETHE_ENV", "test")
    return load_settings(
        state={"folder": tmp_path / "state"},
        parameters={"source": "file", "folder": tmp_path / "keys"},
    )


@pytest.fixture
def wiring(settings: Settings) -> Iterator[Wiring]:
    built = wire(settings)
    yield built
    built.closing.set()
    built.state.close()


@pytest.fixture
def client(wiring: Wiring) -> Client:
    """A client that asks as the principal it is made for."""

    def make(principal: Principal | None) -> FlaskClient:
        return create_app(replace(wiring, authenticate=_known_as(principal))).test_client()

    return make


def _known_as(principal: Principal | None) -> Callable[[Request], Principal]:
    def authenticate(request: Request) -> Principal:
        if principal is None:
            raise NotAuthenticated("nobody is known here")
        return principal

    return authenticate
