"""``lethe token``: give users tokens and machines API keys, and take keys back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands.options import parse_duration
from runners.commands.runs import AsJson, opened_state, print_json, print_table, when

if TYPE_CHECKING:
    from config.settings import Settings
    from schemas.requests import ApiKey
    from stores.state.service_port import ApiKeyStore
    from stores.tokens import Grant, SharedKeys

app = typer.Typer(
    name="token", help="Tokens and API keys: create, list, revoke.", no_args_is_help=True
)

Subject = Annotated[str, typer.Option("--subject", help="Who it is for: a user or a machine.")]
Organization = Annotated[
    str, typer.Option("--organisation", "--organization", help="Whose things they work on.")
]
Roles = Annotated[
    str, typer.Option("--roles", help="viewer, submitter, operator, privacy, admin; with commas.")
]
Rights = Annotated[
    str, typer.Option("--rights", help="Single rights, as enrichment:read:organization,...")
]
Expires = Annotated[
    str | None,
    typer.Option("--expires", help="90s, 15m, 12h, 30d (default: 12h, and 90d for an API key)."),
]
AsKey = Annotated[
    bool, typer.Option("--api-key", help="An API key, which is stored and can be revoked.")
]


@app.command("create")
def create_token(
    subject: Subject,
    organization: Organization,
    roles: Roles = "",
    rights: Rights = "",
    expires: Expires = None,
    api_key: AsKey = False,
) -> None:
    """Print a new token, and nothing else. It cannot be shown again."""
    grant = _grant(subject, organization, roles, rights)
    make = _new_key if api_key else _new_token
    typer.echo(make(grant, expires))


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List API keys, newest first. Signed tokens are kept nowhere."""
    with _opened_keys() as keys:
        found = keys.all()
    if as_json:
        for key in found:
            print_json(_shown(key))
    else:
        columns = ("key", "subject", "organization", "roles", "created (UTC)", "expires", "revoked")
        print_table(columns, map(_row, found))


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `lethe token list` has it.")],
) -> None:
    """Have an API key end now. The service refuses it within 5 seconds."""
    from schemas.errors import UsageError

    with _opened_keys() as keys:
        if not keys.revoke(key_id):
            raise UsageError(f"there is no API key {key_id} that has not ended")
    typer.echo(f"API key {key_id} is revoked")


@dataclass(frozen=True)
class ShownKey:
    """What is shown of an API key."""

    id: str
    subject: str
    organization: str
    roles: tuple[str, ...]
    rights: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def _shown(key: ApiKey) -> ShownKey:
    return ShownKey(
        id=key.id,
        subject=key.subject,
        organization=key.organization,
        roles=key.roles,
        rights=key.rights,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


def _row(key: ApiKey) -> list[str]:
    allowed = ",".join((*key.roles, *key.rights))
    times = (key.created_at, key.expires_at, key.revoked_at)
    return [key.id, key.subject, key.organization, allowed, *map(when, times)]


def _grant(subject: str, organization: str, roles: str, rights: str) -> Grant:
    from schemas.access import Right
    from schemas.errors import UsageError

    try:
        from stores.tokens import Grant
    except ModuleNotFoundError as missing:
        raise UsageError(
            f"tokens need a package that is not installed ({missing.name}): "
            "pip install 'lethe[service]'"
        ) from None
    single = tuple(Right.parse(name) for name in _names(rights))
    return Grant(subject, organization, tuple(_names(roles)), single)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _new_token(grant: Grant, expires: str | None) -> str:
    from config.settings import load_settings
    from stores.tokens import sign_token

    settings = load_settings()
    auth, key = settings.service.auth, _shared_keys(settings).all()[0]
    lives = _lives(expires or "12h")
    return sign_token(grant, key, auth.issuer, auth.audience, datetime.now(UTC), lives)


def _shared_keys(settings: Settings) -> SharedKeys:
    from stores.parameters import open_parameters
    from stores.tokens import shared_keys

    return shared_keys(settings.service.auth, open_parameters(settings.parameters))


def _new_key(grant: Grant, expires: str | None) -> str:
    from stores.tokens import new_api_key

    secret, key = new_api_key(grant, datetime.now(UTC), _lives(expires or "90d"))
    with _opened_keys() as keys:
        keys.add(key)
    return secret


def _lives(expires: str) -> timedelta:
    return timedelta(seconds=parse_duration("--expires", expires) or 0)


@contextmanager
def _opened_keys() -> Iterator[ApiKeyStore]:
    with opened_state() as state:
        yield state.api_keys
