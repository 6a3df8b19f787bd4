"""``lethe audit``: showing, signing, exporting and verifying."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from runners.cli import build_app
from schemas.errors import InputError, UsageError
from stores.checkpoints import AuditBroken
from stores.state.sql import open_state
from tests.audit_logs import draft


@dataclass(frozen=True)
class Office:
    """A state store with three entries, and a folder to put files into."""

    folder: Path

    def put(self, name: str, *arguments: str) -> str:
        """Write what a command prints to a file; its path."""
        path = self.folder / name
        path.write_bytes(audit(*arguments).stdout_bytes)
        return str(path)


def audit(*arguments: str) -> Result:
    result = CliRunner().invoke(build_app("audit"), ["audit", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    monkeypatch.setenv("LETHE_STATE__URL", url)
    monkeypatch.setenv("LETHE_PARAMETERS__FOLDER", str(tmp_path / "parameters"))
    state = open_state(url)
    for number in range(3):
        state.audit.append(draft(number, status="queued"))
    state.close()
    return Office(tmp_path)


def test_the_entries_of_a_resource_are_shown(office: Office) -> None:
    shown = audit("show", "dsr:1").stdout
    assert "user-1" in shown
    assert "status: queued" in shown
    assert len(shown.splitlines()) == 2


def test_entries_are_shown_as_they_are_exported(office: Office) -> None:
    line = audit("show", "dsr:1", "--json").stdout
    assert line.encode() in audit("export").stdout_bytes
    assert json.loads(line)["sequence"] == 2


def test_a_log_that_is_not_signed_is_whole_and_that_is_said(office: Office) -> None:
    assert "3 entries, signed for up to entry 0" in audit("verify").stdout


def test_a_signed_log_is_whole(office: Office) -> None:
    assert json.loads(audit("checkpoint").stdout)["sequence"] == 3
    assert audit("verify").stdout == "the audit log is whole: 3 entries, all signed for\n"


def test_an_export_is_verified_without_a_store_or_a_key_of_ours(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key = office.put("log.ndjson", "export"), office.put("key.pem", "public-key")
    monkeypatch.setenv("LETHE_STATE__URL", "nothing://")
    monkeypatch.setenv("LETHE_PARAMETERS__SOURCE", "env")
    said = audit("verify", "--file", file, "--public-key", key).stdout
    assert said == "the audit log is whole: 3 entries, all signed for\n"


def test_an_export_that_was_changed_is_not_whole(office: Office) -> None:
    path = Path(office.put("log.ndjson", "export"))
    path.write_bytes(path.read_bytes().replace(b"dsr:1", b"dsr:7"))
    with pytest.raises(AuditBroken, match="entry 2 was changed"):
        audit("verify", "--file", str(path))
    assert AuditBroken.exit_status == 1


def test_a_kept_checkpoint_shows_what_an_older_export_lacks(office: Office) -> None:
    older = office.put("older.ndjson", "export")
    state = open_state(f"sqlite:///{office.folder / 'state.db'}")
    state.audit.append(draft(9))
    state.close()
    kept = office.put("kept.json", "checkpoint")
    with pytest.raises(AuditBroken, match="from 4 on are missing"):
        audit("verify", "--file", older, "--checkpoint", kept)


def test_a_key_of_another_kind_is_refused(office: Office) -> None:
    with pytest.raises(UsageError, match="Ed25519"):
        audit("verify", "--public-key", str(office.folder / "state.db"))


def test_a_file_that_is_not_there_is_named(office: Office) -> None:
    with pytest.raises(InputError, match=r"none\.ndjson"):
        audit("verify", "--file", str(office.folder / "none.ndjson"))


def test_what_is_no_checkpoint_is_refused(office: Office) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        audit("verify", "--checkpoint", str(office.folder / "state.db"))


def test_a_secret_that_is_no_key_is_refused(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_AUDIT_KEYS", "secret")
    with pytest.raises(UsageError, match="64 hexadecimal digits") as refused:
        audit("checkpoint")
    assert "secret'" not in refused.value.message
