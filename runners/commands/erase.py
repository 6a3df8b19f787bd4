"""``lethe erase``"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands import options as shared

if TYPE_CHECKING:
    from runners.erase import ErasureDone, ErasureOrder, ErasureSite
    from schemas.erasure import Certificate, ErasureMode, OldVersionsRule, Preview
    from schemas.subject_lists import Subject

INCOMPLETE = 4
"""Exit status of an erasure that was certified, but could not reach or wait for everything."""

STANDARD_INPUT = "-"
"""Given in the place of a subject or a file: it is read from standard input."""

Subjects = Annotated[
    list[str] | None,
    typer.Option(
        "--subject",
        metavar="TYPE=VALUE",
        help="email=ana@example.com[,TYPE=VALUE]; - reads it from standard input; repeatable.",
    ),
]
SubjectFile = Annotated[
    str | None,
    typer.Option("--subjects", metavar="FILE", help="Subjects, one a line; - is standard input."),
]
PlusAddressing = Annotated[
    bool,
    typer.Option("--plus-addressing", help="Take ana+news@example.com for ana@example.com."),
]


def command(
    lake: shared.Lake,
    subject: Subjects = None,
    subjects: SubjectFile = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode", help="delete rows (the default), or redact what is personal in them."
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also", metavar="PATH", help="A file or folder beside the lake, or s3://; repeatable."
        ),
    ] = None,
    plus_addressing: PlusAddressing = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count only, and keep a preview that can be run.")
    ] = False,
    preview: Annotated[
        str | None, typer.Option("--preview", metavar="ID", help="Run what was previewed.")
    ] = None,
    max_match_share: Annotated[
        float,
        typer.Option(
            "--max-match-share", min=0, max=1, help="Refuse to erase more than this share of rows."
        ),
    ] = 0.01,
    suppress_for: Annotated[
        str | None,
        typer.Option("--suppress-for", help="Keep the subjects out so long: 365d. Default: ever."),
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", help="Wait so long for deliveries that had begun before.")
    ] = "5m",
    old_versions: Annotated[
        str,
        typer.Option("--old-versions", help="What S3 has kept of files: keep, report or remove."),
    ] = "keep",
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate", callback=shared.no_dash, help="Write the certificate here, too."
        ),
    ] = None,
    schemas: shared.Schemas = None,
    workers: shared.Workers = None,
    runner: shared.Runner = "direct",
    flink_master: shared.FlinkMaster = None,
    spark_master: shared.SparkMaster = None,
    worker_pool: shared.WorkerPool = None,
) -> None:
    """Erase subjects from data, dead letters and files beside the lake, with a certificate."""
    from runners.erase import open_site, preview_erasure, run_erasure
    from runners.erase_order import ErasureOrder
    from runners.file_runner import open_file_runner
    from runners.runs import recorded_run

    settings = shared.configured()
    site = open_site(lake, settings, schemas)
    where = shared.chosen_runner(settings, workers, runner, flink_master, spark_master, worker_pool)
    if preview is not None:
        _check_alone(
            {
                "--subject": subject,
                "--subjects": subjects,
                "--mode": mode,
                "--also": also,
                "--plus-addressing": plus_addressing,
            }
        )
    order = ErasureOrder(
        subjects=() if preview is not None else read_subjects(subject or [], subjects),
        mode=_mode(mode or "delete"),
        also=tuple(also or ()),
        plus_addressing=plus_addressing,
        max_match_share=max_match_share,
        suppress_for=_days("--suppress-for", suppress_for),
        wait=timedelta(seconds=shared.parse_duration("--wait", wait) or 0),
        old_versions=_old_versions(old_versions),
    )
    _check_folder(certificate)
    shared.check_lake(site.store)
    if preview is not None:
        order = _previewed(preview, order, site)
    with open_file_runner(where) as opened, recorded_run("erase", settings) as run:
        if dry_run:
            _show_preview(preview_erasure(order, site, opened))
            return
        done = run_erasure(order, site, opened)
        run.add({"matched": done.certificate.matched, "files": len(done.certificate.files)})
        _hand_over(done, site, certificate)
    _conclude(done, site)


def read_subjects(given: Iterable[str], path: str | None) -> tuple[Subject, ...]:
    """The subjects of options and of a file. Raises ``UsageError``, which repeats none."""
    from schemas.errors import UsageError
    from schemas.subject_lists import parse_subject

    found = [
        parse_subject(_from_input() if text == STANDARD_INPUT else text, f"--subject {number}")
        for number, text in enumerate(given, 1)
    ]
    if path is not None:
        found += _of_file(path)
    if not found:
        raise UsageError(
            "who is it about? give --subject TYPE=VALUE, or --subjects FILE"
            if path is None
            else f"--subjects {path}: names nobody: write one subject a line"
        )
    return tuple(dict.fromkeys(found))


def _check_alone(given: Mapping[str, object]) -> None:
    """Raise ``UsageError`` if anything is given that a preview says."""
    from schemas.errors import UsageError

    if told := [option for option, value in given.items() if value]:
        raise UsageError(
            f"--preview says whose rows go, and how: leave out {' and '.join(told)}, or look again "
            "by --dry-run"
        )


def _of_file(path: str) -> list[Subject]:
    from schemas.subject_lists import parse_subjects

    if path == STANDARD_INPUT:
        with shared.reading("standard input"):
            return list(parse_subjects(sys.stdin, "standard input"))
    with shared.reading(path), Path(path).open(encoding="utf-8") as lines:
        return list(parse_subjects(lines, path))


def _from_input() -> str:
    with shared.reading("standard input"):
        return sys.stdin.readline().strip()


def _mode(name: str) -> ErasureMode:
    from schemas.erasure import ErasureMode
    from schemas.errors import UsageError

    if name not in set(ErasureMode):
        raise UsageError(f"--mode {name!r}: choose delete or redact")
    return ErasureMode(name)


def _old_versions(name: str) -> OldVersionsRule:
    from schemas.erasure import OldVersionsRule
    from schemas.errors import UsageError

    if name not in set(OldVersionsRule):
        raise UsageError(f"--old-versions {name!r}: choose keep, report or remove")
    return OldVersionsRule(name)


def _days(option: str, text: str | None) -> timedelta | None:
    seconds = shared.parse_duration(option, text)
    return None if seconds is None else timedelta(seconds=seconds)


def _previewed(preview_id: str, order: ErasureOrder, site: ErasureSite) -> ErasureOrder:
    """The order to run a preview; how it is run is said anew."""
    from dataclasses import replace

    from runners.erase import approved
    from stores.previews import load_preview

    return replace(
        approved(load_preview(site.store, preview_id, site.clock()), site),
        suppress_for=order.suppress_for,
        wait=order.wait,
        old_versions=order.old_versions,
    )


def _hand_over(done: ErasureDone, site: ErasureSite, path: Path | None) -> None:
    """Put the certificate where it belongs: the file that was asked for, and the audit log."""
    from runners.commands.runs import opened_state
    from runners.erase import close_erasure
    from runners.erase_audit import certified
    from stores.erasure_certificates import encode_certificate

    if path is not None:
        _write(path, encode_certificate(done.certificate))
    with opened_state() as state:
        state.audit.append(certified(done.certificate, "cli"))
    close_erasure(site, done)


def _check_folder(path: Path | None) -> None:
    """Raise ``UsageError`` before anything is done, if there is no place for the certificate."""
    from schemas.errors import UsageError

    if path is None:
        return
    # os.path, as it takes a folder that nobody may look into for none
    if os.path.isdir(path) or not os.path.isdir(path.parent):  # noqa: PTH112
        raise UsageError(f"--certificate {path}: name a file in a folder that is there")
    if not os.access(path if os.path.exists(path) else path.parent, os.W_OK):  # noqa: PTH110
        raise UsageError(f"--certificate {path}: cannot be written: check the permissions")


def _write(path: Path, content: bytes) -> None:
    from schemas.errors import AccessDenied

    try:
        path.write_bytes(content)
    except OSError as error:
        raise AccessDenied(
            f"{path}: cannot be written: {error.strerror}; the certificate is in the lake"
        ) from None


def _show_preview(preview: Preview) -> None:
    _print(
        [
            ("preview", preview.id),
            ("rows", f"{preview.matched:,} of {preview.rows:,} ({preview.share:.1%})"),
            ("files", f"{len(preview.files):,}"),
            ("expires", f"{preview.expires_at:%Y-%m-%d %H:%M} UTC"),
        ]
    )
    _print_counts("type", preview.by_type.items())
    _print_counts("date", preview.by_date.items())
    _print_counts("file", ((file.path, file.matched) for file in preview.files))
    for line in preview.unread:
        typer.echo(f"not looked into: {line}", err=True)
    typer.echo(f"to erase them: lethe erase --lake LAKE --preview {preview.id}")


def _conclude(done: ErasureDone, site: ErasureSite) -> None:
    from stores.erasure_certificates import certificate_key

    made = done.certificate
    removed = sum(file.sha256_after is None for file in made.files)
    _print(
        [
            ("erasure", made.id),
            ("files", f"{made.files_looked_at:,} looked at, {made.files_read:,} read"),
            ("replaced", f"{len(made.files) - removed:,} files, {removed:,} removed"),
            ("rows", rows_in_words(made)),
            ("certificate", f"{site.store.uri.rstrip('/')}/{certificate_key(made.id)}"),
            ("time", f"{done.seconds:,.2f} s"),
        ]
    )
    if done.drift:
        typer.echo(f"since the preview: {done.drift}")
    _complain(done)


def rows_in_words(made: Certificate) -> str:
    """How many rows left, how many stay without what is personal, and how many are as they were."""
    beside = made.rows_before - made.matched
    redacted = made.rows_after - beside
    erased = f"{made.matched - redacted:,} erased, {beside:,} beside them kept"
    return f"{redacted:,} redacted, {erased}" if redacted else erased


def _complain(done: ErasureDone) -> None:
    """Say what was not reached; exit with 4 if that is anything."""
    for line in done.certificate.unreachable:
        typer.echo(f"not reached: {line}", err=True)
    if done.certificate.open_runs:
        typer.echo(
            f"still under way: {len(done.certificate.open_runs)} deliveries that had begun before: "
            "they take out what they bring of the subjects when they end",
            err=True,
        )
    if not done.is_complete:
        raise typer.Exit(INCOMPLETE)


def _print(lines: Iterable[tuple[str, str]]) -> None:
    for label, value in lines:
        typer.echo(f"{label:<13}{value}")


def _print_counts(title: str, counts: Iterable[tuple[str, int]]) -> None:
    rows = [(name, f"{count:,}") for name, count in counts]
    if rows:
        width = max(len(title), *(len(name) for name, _ in rows)) + 2
        typer.echo(f"\n{title:<{width}}rows")
        for name, count in rows:
            typer.echo(f"{name:<{width}}{count}")
