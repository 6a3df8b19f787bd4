"""The security guide says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from config.service import AuthSection, IdempotencySection, LimitsSection
from schemas.access import ROLES, Action, Resource
from service.limits.enforce import EXEMPT
from service.security import jwks
from service.security.api_keys import KNOWN_FOR
from service.security.authenticate import IN_QUERY

GUIDE = (Path(__file__).parents[3] / "docs" / "security.md").read_text("utf-8")


def cell(role: str, resource: Resource, action: Action) -> str:
    """How far this right of the role reaches, by the code; nothing if it has none."""
    return " ".join(
        right.scope for right in ROLES[role] if (right.resource, right.action) == (resource, action)
    )


def rows() -> list[str]:
    """The table of rights, as it has to be."""
    found = [f"| right | {' | '.join(ROLES)} |"]
    for resource in Resource:
        for action in Action:
            cells = [cell(role, resource, action) for role in ROLES]
            if any(cells[:-1]):
                found.append(f"| `{resource}:{action}` | {' | '.join(cells)} |")
    return found


def shown() -> list[str]:
    table = GUIDE.partition("## Rights")[2].partition("\n\n|")[2].partition("\n\n")[0]
    lines = f"|{table}".splitlines()
    return [line for line in lines if "---" not in line and "every other" not in line]


def test_table_of_rights_is_that_of_the_code() -> None:
    squeezed = [re.sub(" +", " ", row) for row in rows()]
    assert shown() == squeezed


def test_admin_alone_has_every_right() -> None:
    rights = {(right.resource, right.action) for right in ROLES["admin"]}
    assert rights == {(resource, action) for resource in Resource for action in Action}


@pytest.mark.parametrize(
    ("name", "section"),
    [("auth", AuthSection), ("limits", LimitsSection), ("idempotency", IdempotencySection)],
)
def test_every_setting_is_explained(name: str, section: type[BaseModel]) -> None:
    for setting in section.model_fields:
        assert f"| `service.{name}.{setting}` |" in GUIDE


def test_times_of_the_guide_are_those_of_the_code() -> None:
    assert (jwks.FRESH, jwks.PAUSE, jwks.STALE, KNOWN_FOR) == (300, 10, 86400, 5)
    for said in ("every 5 minutes", "once in 10 seconds", "up to 24 hours", "after 5 seconds"):
        assert said in GUIDE


def test_what_is_refused_in_addresses_is_listed() -> None:
    assert all(f"`{name}=`" in GUIDE for name in IN_QUERY)


def test_what_is_not_counted_is_listed() -> None:
    assert all(f"`{path}`" in GUIDE for path in EXEMPT)


def test_rates_of_the_guide_are_the_defaults() -> None:
    limits = LimitsSection()
    for name in ("address", "principal", "everything"):
        assert f'{name} = "{getattr(limits, name)}"' in GUIDE
    assert all(f'"{name}" = "{rate}"' in GUIDE for name, rate in limits.endpoints.items())
