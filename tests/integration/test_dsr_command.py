"""``lethe dsr``: requests on the state store, without the service."""

from __future__ import annotations

import getpass
import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from runners.commands.dsr import app
from schemas.errors import Invalid, LetheError, NotFound, UsageError

EMAIL = "ana.canary@example.com"
ORG = ("--organization", "org-1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_ENV", "local")
    monkeypatch.setenv("LETHE_STATE__FOLDER", str(tmp_path / "state"))
    monkeypatch.setenv("LETHE_PARAMETERS__FOLDER", str(tmp_path / "keys"))


def lethe(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=given)


def done(*arguments: str, given: str | None = None) -> str:
    result = lethe(*arguments, given=given)
    assert result.exit_code == 0, result.exception
    assert "canary" not in result.output
    return result.stdout


def refused(*arguments: str, given: str | None = None) -> LetheError:
    result = lethe(*arguments, given=given)
    assert isinstance(result.exception, LetheError), result.output
    assert "canary" not in result.exception.message
    return result.exception


def submitted(kind: str = "gdpr_delete") -> str:
    return done("submit", kind, "--email", "-", *ORG, given=f"{EMAIL}\n").strip()


def test_submitting_prints_the_id_alone() -> None:
    assert uuid.UUID(submitted()).version == 4


def test_request_is_shown_without_its_subject() -> None:
    shown = json.loads(done("show", submitted(), "--json"))
    assert (shown["status"], shown["type"], shown["daysLeft"] > 25) == (
        "queued",
        "gdpr_delete",
        True,
    )
    assert "queued" in done("show", shown["id"])


def test_part_of_the_lake_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_DSR__LAKE__URI", str(tmp_path / "lake"))
    lines = [line.split() for line in done("show", submitted()).splitlines()]
    assert ["lake", "waiting"] in lines


def test_submitter_is_a_pseudonym_of_the_system_user() -> None:
    from runners.commands.runs import opened_state
    from schemas.access import Reach

    request_id = submitted()
    with opened_state() as state:
        [entry] = state.audit.of(f"dsr:{request_id}", Reach(None))
    assert entry.draft.actor.startswith("cli:")
    assert getpass.getuser() not in entry.draft.actor


def test_identities_of_other_types_are_taken() -> None:
    request_id = done(
        "submit", "export", "--identity", "android_id=abc", "--regulation", "ccpa", *ORG
    )
    shown = json.loads(done("show", request_id.strip(), "--json"))
    assert (shown["regulation"], shown["requestType"]) == ("ccpa", "portability")


def test_requests_of_a_subject_are_listed() -> None:
    request_id, other = submitted(), submitted("export")
    listed = done("list", "--email", "-", "--json", given=f" {EMAIL.upper()}\n")
    assert [json.loads(line)["id"] for line in listed.splitlines()] == [other, request_id]
    assert done("list", "--email", "nobody@example.com", "--json") == ""


def test_list_is_narrowed_by_status_and_organization() -> None:
    request_id = submitted()
    assert request_id in done("list", "--status", "queued", *ORG)
    assert request_id not in done("list", "--status", "held")
    assert request_id not in done("list", "--organization", "org-2")


def test_second_request_for_the_same_is_refused_until_the_first_is_cancelled() -> None:
    request_id = submitted()
    again = ("submit", "gdpr_delete", "--email", EMAIL, *ORG)
    assert refused(*again).details["requestId"] == request_id
    assert done("cancel", request_id) == f"request {request_id} is cancelled\n"
    assert done(*again).strip() != request_id


def test_requests_due_soon_are_at_risk() -> None:
    request_id = submitted()
    assert request_id in done("at-risk", "--days", "40")
    assert request_id not in done("at-risk", "--days", "3")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("submit", "gdpr_delete", *ORG), UsageError),
        (("submit", "gdpr_delete", "--email", "ana canary", *ORG), Invalid),
        (("submit", "forget", "--email", EMAIL, *ORG), Invalid),
        (("submit", "export", "--identity", f"mail={EMAIL}", *ORG), UsageError),
        (("submit", "export", "--email", EMAIL, "--regulation", "hipaa", *ORG), UsageError),
        (("submit", "export", "--email", EMAIL, "--organization", "a b"), UsageError),
        (("list", "--status", "lost"), UsageError),
        (("show", "no-such"), NotFound),
        (("cancel", "no-such"), NotFound),
    ],
)
def test_what_cannot_be_is_refused_without_repeating_the_subject(
    arguments: tuple[str, ...], error: type[LetheError]
) -> None:
    assert isinstance(refused(*arguments), error)


def test_closed_request_is_not_cancelled_twice_over() -> None:
    request_id = submitted()
    done("cancel", request_id)
    assert done("cancel", request_id) == f"request {request_id} is cancelled\n"
