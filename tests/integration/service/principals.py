"""Those who ask the service in tests."""

from __future__ import annotations

from collections.abc import Callable

from flask.testing import FlaskClient

from schemas.access import Principal, rights_of

Client = Callable[[Principal | None], FlaskClient]


def somebody(*roles: str, subject: str = "user-1", organization: str = "org-1") -> Principal:
    """A principal with these roles."""
    return Principal(subject, organization, frozenset(roles), rights_of(roles))


ADMIN = somebody("admin", subject="admin-1")
OPERATOR = somebody("operator")
VIEWER = somebody("viewer")
STRANGER = somebody("operator", subject="user-9", organization="org-9")
