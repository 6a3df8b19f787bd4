"""Who may do what: rights, roles, and how far a right reaches.

A right is ``resource:action:scope``, such as ``enrichment:read:organization``. Its scope says of
whose things: one's ``own``, those of one's ``organization``, or ``all``. A repository is given the
reach and looks at nothing beyond it, so that what is out of reach is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import Forbidden, UsageError


class Scope(StrEnum):
    """Of whose things a right speaks, from the narrowest to the widest."""

    OWN = "own"
    ORGANIZATION = "organization"
    ALL = "all"


SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:|-]{0,127}")
"""What a subject may look like. An address does not: logs and files name subjects."""

ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What an organisation's name may look like; it can stand in a key of a file as it is."""

_WIDTH = {scope: width for width, scope in enumerate(Scope)}


class Action(StrEnum):
    """What can be done with a resource."""

    CREATE = "create"
    READ = "read"
    CANCEL = "cancel"
    DELETE = "delete"
    APPROVE = "approve"


class Resource(StrEnum):
    """What rights speak of."""

    ENRICHMENT = "enrichment"
    UPLOAD = "upload"
    RUN = "run"
    DSR = "dsr"
    AUDIT = "audit"
    LAKE = "lake"
    METRICS = "metrics"
    WEBHOOK = "webhook"


@dataclass(frozen=True)
class Right:
    """One right; ``str`` gives it as it is written."""

    resource: Resource
    action: Action
    scope: Scope

    @staticmethod
    def parse(text: str) -> Right:
        """Read ``resource:action:scope``. Raises ``UsageError``."""
        try:
            resource, action, scope = text.split(":")
            return Right(Resource(resource), Action(action), Scope(scope))
        except ValueError:
            raise UsageError(
                f"{text!r} is no right: write one as enrichment:read:organization"
            ) from None

    def __str__(self) -> str:
        return f"{self.resource}:{self.action}:{self.scope}"


def _rights(scope: Scope, resources: Iterable[Resource], actions: Iterable[Action]) -> set[Right]:
    wanted = tuple(actions)
    return {Right(resource, action, scope) for resource in resources for action in wanted}


_WORK = (Resource.ENRICHMENT, Resource.UPLOAD, Resource.RUN, Resource.DSR)
_HOOKS = frozenset({Action.CREATE, Action.READ, Action.DELETE})

ROLES: Mapping[str, frozenset[Right]] = {
    "viewer": frozenset(_rights(Scope.ORGANIZATION, _WORK, [Action.READ])),
    "submitter": frozenset(
        _rights(
            Scope.OWN,
            [Resource.ENRICHMENT],
            [Action.CREATE, Action.READ, Action.CANCEL, Action.DELETE],
        )
        | _rights(Scope.OWN, [Resource.UPLOAD], [Action.CREATE, Action.READ])
        | _rights(Scope.OWN, [Resource.WEBHOOK], _HOOKS)
    ),
    "operator": frozenset(
        _rights(
            Scope.ORGANIZATION,
            [Resource.ENRICHMENT],
            [Action.CREATE, Action.READ, Action.CANCEL, Action.DELETE],
        )
        | _rights(Scope.ORGANIZATION, [Resource.UPLOAD], [Action.CREATE, Action.READ])
        | _rights(Scope.ORGANIZATION, [Resource.RUN], [Action.READ, Action.CANCEL])
        | _rights(Scope.ORGANIZATION, [Resource.DSR, Resource.LAKE], [Action.READ])
        | _rights(Scope.ORGANIZATION, [Resource.WEBHOOK], _HOOKS)
    ),
    "privacy": frozenset(
        _rights(
            Scope.ORGANIZATION,
            [Resource.DSR],
            [Action.CREATE, Action.READ, Action.CANCEL, Action.APPROVE],
        )
        | _rights(Scope.ORGANIZATION, [Resource.AUDIT, Resource.RUN, Resource.LAKE], [Action.READ])
        | _rights(Scope.ORGANIZATION, [Resource.WEBHOOK], _HOOKS)
    ),
    "admin": frozenset(_rights(Scope.ALL, Resource, Action)),
}
"""The rights of each role. ``admin`` sees all organisations."""


@dataclass(frozen=True)
class Reach:
    """Of whose things a query speaks: None is no limit. Never both None but for scope ``all``."""

    organization: str | None
    owner: str | None = None


@dataclass(frozen=True)
class Principal:
    """Whoever makes a request: ``subject`` is a user's or a machine's name, no personal data.

    ``rights`` are those of its roles and those given one by one.
    """

    subject: str
    organization: str
    roles: frozenset[str]
    rights: frozenset[Right]

    def reach(self, resource: Resource, action: Action) -> Reach:
        """How far this right of theirs reaches. Raises ``Forbidden`` if they do not have it."""
        held = [r.scope for r in self.rights if (r.resource, r.action) == (resource, action)]
        if not held:
            raise Forbidden(f"this needs a right {resource}:{action}", right=f"{resource}:{action}")
        return self._reach_of(max(held, key=_WIDTH.__getitem__))

    def _reach_of(self, scope: Scope) -> Reach:
        if scope is Scope.ALL:
            return Reach(None)
        return Reach(self.organization, self.subject if scope is Scope.OWN else None)


def check_names(subject: str, organization: str) -> None:
    """Raises ``UsageError``, which does not repeat them, if these cannot name anybody."""
    if not SUBJECT.fullmatch(subject):
        raise UsageError(
            "the subject must be 1 to 128 letters, digits or . _ : | - and begin with a letter "
            "or digit: name a user or a machine, not an address"
        )
    if not ORGANIZATION.fullmatch(organization):
        raise UsageError(
            "the organization must be 1 to 64 letters, digits or _ - and begin with a letter "
            "or digit"
        )


def rights_of(roles: Iterable[str], further: Iterable[Right] = ()) -> frozenset[Right]:
    """All rights of these roles. Raises ``UsageError`` for a role that there is not."""
    found = set(further)
    for role in roles:
        if role not in ROLES:
            raise UsageError(f"{role!r} is no role: choose from {', '.join(sorted(ROLES))}")
        found |= ROLES[role]
    return frozenset(found)
