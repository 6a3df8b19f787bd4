"""Reach as a condition of a query."""

from __future__ import annotations

import sqlalchemy as sa

from schemas.access import Reach


def within(
    reach: Reach, organization: sa.Column[str], owner: sa.Column[str]
) -> list[sa.ColumnElement[bool]]:
    """The conditions that keep a query within ``reach``."""
    limits = ((organization, reach.organization), (owner, reach.owner))
    return [column == value for column, value in limits if value is not None]
