"""``lethe erase`` with options that make no sense: said at once, and nobody's value is repeated."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import typer

from runners.cli import build_app
from runners.commands.erase import read_subjects
from runners.erase_preview import Counted, MatchShareExceeded, check_share
from schemas.erasure import FileKind, FileMatch
from schemas.errors import LetheError, UsageError
from stores.audit_keys import audit_keys
from stores.erasure_certificates import CertificateBroken
from tests.erasing import SECRETS, Secrets

SOMEBODY = "--subject=email=secret@example.com"

SENSELESS: dict[str, tuple[tuple[str, ...], str]] = {
    "nobody": ((), "who is it about?"),
    "an unknown type": (("--subject=mail=secret@example.com",), "--subject 1: the type must be"),
    "no address": ((SOMEBODY, "--subject=email=secret"), "--subject 2: .* is no email address"),
    "an unknown mode": ((SOMEBODY, "--mode=forget"), "--mode 'forget': choose delete or redact"),
    "no length of time": ((SOMEBODY, "--suppress-for=ever"), "--suppress-for 'ever'"),
    "an unknown policy": ((SOMEBODY, "--old-versions=hide"), "--old-versions 'hide'"),
    "two kinds of asking": ((SOMEBODY, "--preview=1"), "--preview says .* leave out --subject,"),
    "a preview in another way": (
        ("--preview=1", "--mode=redact", "--also=a.csv", "--plus-addressing"),
        "leave out --mode and --also and --plus-addressing",
    ),
    "a time that never ends": ((SOMEBODY, "--suppress-for=9999999d"), "'9999999d': at most"),
    "a wait that never ends": ((SOMEBODY, "--wait=99999999999d"), "'99999999999d': at most"),
    "a list of nobody": (("--subjects=/dev/null",), "--subjects /dev/null: names nobody"),
    "a preview that is not there": (("--preview=none",), "the lake has none of the id 'none'"),
    "a preview elsewhere": (("--preview=../log/1",), "give the id that --dry-run has printed"),
    "a file that is not there": (("--subjects=nowhere.txt",), "nowhere.txt: cannot be read"),
    "a lake that is not there": ((SOMEBODY, "--lake=lac"), "lac: there is no lake"),
    "no place for the certificate": ((SOMEBODY, "--certificate=no/c.json"), "--certificate no/c"),
    "a place that is not there": ((SOMEBODY, "--also=nowhere"), "--also nowhere: there is no such"),
}


def run(*arguments: str) -> Any:
    return typer.main.get_command(build_app("erase"))(["erase", *arguments], standalone_mode=False)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    letters = tmp_path / "lake" / "errors" / "date=2026-01-02" / "a.ndjson"
    letters.parent.mkdir(parents=True)
    letters.write_text("{}\n")
    monkeypatch.setenv("LETHE_STATE__FOLDER", str(tmp_path / "state"))
    for name, value in SECRETS.items():
        monkeypatch.setenv("LETHE_" + name.upper().replace("-", "_"), value)


@pytest.mark.parametrize("what", SENSELESS)
def test_senseless_options_are_named(what: str, tmp_path: Path) -> None:
    arguments, said = SENSELESS[what]
    with pytest.raises(LetheError, match=said) as raised:
        run("--lake", str(tmp_path / "lake"), "--workers", "1", *arguments)
    assert "secret" not in raised.value.message


def test_subjects_come_from_options_file_and_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").write_text("email=b@example.com\nemail=a@example.com\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("email=c@example.com\nnot read\n"))
    found = read_subjects(["email=a@example.com", "-"], "list")
    assert [one.value[0] for subject in found for one in subject] == ["a", "c", "b"]


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"email=\xff@example.com")
    with pytest.raises(LetheError, match="list: is not in UTF-8"):
        read_subjects([], "list")


def test_input_that_is_no_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    latin = io.TextIOWrapper(io.BytesIO(b"email=\xff@example.com"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", latin)
    with pytest.raises(LetheError, match="standard input: is not in UTF-8"):
        read_subjects(["-"], None)


def test_certificate_that_nobody_may_write_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UsageError, match=r"c\.json: cannot be written"):
        run("--lake", str(tmp_path / "lake"), SOMEBODY, "--certificate=c.json")


def test_share_may_be_reached_and_not_exceeded() -> None:
    check_share(Counted(0, ()), 0.0)
    with pytest.raises(MatchShareExceeded) as raised:
        check_share(_counted(2, 100), 0.01)
    assert raised.value.exit_status == 3
    check_share(_counted(1, 100), 0.01)


def _counted(matched: int, rows: int) -> Counted:
    return Counted(rows, (FileMatch("a", FileKind.DATA, "visit", None, rows, matched),))


def test_missing_key_is_said_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LETHE_AUDIT_KEYS")
    monkeypatch.setenv("LETHE_PARAMETERS__SOURCE", "env")
    with pytest.raises(UsageError, match="LETHE_AUDIT_KEYS"):
        run("--lake", str(tmp_path / "lake"), SOMEBODY)
    assert not (tmp_path / "lake" / "_lethe").exists()


def test_outsider_who_verifies_needs_no_key_to_sign_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LETHE_AUDIT_KEYS")
    monkeypatch.setenv("LETHE_PARAMETERS__SOURCE", "env")
    (tmp_path / "key.pem").write_text(audit_keys(Secrets()).public_pem)
    (tmp_path / "c.json").write_text("{}")
    app = typer.main.get_command(build_app("verify-erasure"))
    asked = ["--lake", "lake", "--certificate", "c.json", "--public-key", "key.pem"]
    with pytest.raises(CertificateBroken, match=r"c\.json: this is no certificate"):
        app(["verify-erasure", *asked], standalone_mode=False)
