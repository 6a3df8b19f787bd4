"""What senseless exports are told, without a word of the subject."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from runners.cli import build_app
from schemas.errors import InputError, UsageError

SUBJECT = "email=ana@acme.example"


def error_of(*options: str) -> UsageError | InputError:
    found = CliRunner().invoke(build_app("export"), ["export", *options]).exception
    assert isinstance(found, UsageError | InputError)
    assert "ana" not in found.message
    return found


def asked(*more: str, out: str = "out") -> list[str]:
    return ["--lake", "lake", "--subject", SUBJECT, "--out", out, *more]


@pytest.mark.parametrize("missing", ["--lake", "--subject", "--out"])
def test_what_is_missing_is_named(missing: str) -> None:
    options = asked()
    place = options.index(missing)
    assert missing in error_of(*options[:place], *options[place + 2 :]).message


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--subject", "email=bo@acme.example"], "an archive is of one subject"),
        (["--format", "xml"], "choose json, ndjson or csv"),
        (["--expires", "soon"], "90s, 15m, 6h or 1d"),
        (["--expires", "999999999999d"], "at most 3650d"),
        (["--encrypt-to", "age1nobody"], "no public key of age"),
        (["--encrypt-to", "age1x", "--passphrase-file", "p"], "exclude each other"),
        (["--passphrase-file", "/nowhere/at/all"], "cannot be read"),
    ],
)
def test_option_that_makes_no_sense_is_refused(more: list[str], told: str) -> None:
    assert told in error_of(*asked(*more)).message


def test_passphrase_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("hunter2\n")
    message = error_of(*asked("--passphrase-file", str(tmp_path / "words"))).message
    assert "shorter than 12" in message
    assert "hunter2" not in message


def test_sweep_asks_where() -> None:
    assert "--out" in error_of("sweep").message
