"""Whatever is asked of whatever operation, the service answers as its document says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from config.settings import Settings
from service.app import create_app
from service.bootstrap import wire
from tests.integration.service.principals import ADMIN

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def document(settings: Settings) -> Iterator[Any]:
    """The application as an administrator is given it, who may ask without end."""
    without = settings.service.limits.model_copy(
        update={"address": "none", "principal": "none", "everything": "none"}
    )
    api = settings.service.enrichment.model_copy(update={"api": "http://127.0.0.1:9"})
    service = settings.service.model_copy(update={"limits": without, "enrichment": api})
    wiring = wire(settings.model_copy(update={"service": service}))
    app = create_app(replace(wiring, authenticate=lambda _: ADMIN))
    yield schemathesis.openapi.from_wsgi("/openapi/openapi.json", app)
    wiring.closing.set()
    wiring.state.close()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
def test_any_request_is_answered_as_documented(document: Any, mode: GenerationMode) -> None:
    for operation in document.get_all_operations():
        ask_often(operation.ok(), mode)


def ask_often(operation: Any, mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @bounded
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    with suppress(Unsatisfiable):
        ask()


bounded = hypothesis_settings(
    max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck)
)
