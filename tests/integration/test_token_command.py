"""``lethe token``, as a process: what it prints is what the service takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from runners.commands.token import create_token
from schemas.errors import UsageError

GRANT = ("--subject", "me", "--organisation", "org-1", "--roles", "operator")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def lethe(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    env = {**own, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "runners.cli", "token", *arguments]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


def test_token_alone_is_printed_and_signed_by_the_key_of_this_machine(home: Path) -> None:
    done = lethe(home, "create", *GRANT, "--rights", "metrics:read:all", "--expires", "1h")
    key = (home / ".config" / "lethe" / "token-keys").read_text().strip()
    claims = jwt.decode(done.stdout.strip(), key, ["HS256"], audience="lethe", issuer="lethe")
    assert (claims["sub"], claims["org"], claims["roles"]) == ("me", "org-1", ["operator"])
    assert (claims["rights"], claims["exp"] - claims["iat"]) == (["metrics:read:all"], 3600)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 1, "")


def test_key_is_listed_without_its_secret_until_it_is_revoked(home: Path) -> None:
    secret = lethe(home, "create", *GRANT, "--api-key").stdout.strip()
    listed = lethe(home, "list", "--json").stdout
    key = json.loads(listed)
    assert (key["subject"], key["revoked_at"], secret in listed) == ("me", None, False)
    assert "digest" not in key
    assert lethe(home, "revoke", key["id"]).returncode == 0
    assert json.loads(lethe(home, "list", "--json").stdout)["revoked_at"] is not None
    assert lethe(home, "revoke", key["id"]).returncode == 2


def test_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    monkeypatch.delitem(sys.modules, "stores.tokens", raising=False)
    with pytest.raises(UsageError, match=r"\(jwt\): pip install"):
        create_token("me", "org-1", "viewer")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--subject", "me@example.com", "--organisation", "o", "--roles", "viewer"), "subject"),
        (("--subject", "me", "--organisation", "a/b", "--roles", "viewer"), "organization"),
        (("--subject", "me", "--organisation", "o", "--roles", "king"), "king"),
        (("--subject", "me", "--organisation", "o", "--rights", "all"), "no right"),
        (("--subject", "me", "--organisation", "o"), "give a role"),
        ((*GRANT, "--expires", "soon"), "--expires"),
    ],
)
def test_bad_grant_is_refused(home: Path, arguments: tuple[str, ...], said: str) -> None:
    done = lethe(home, "create", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "example.com" not in done.stderr
