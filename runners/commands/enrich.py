"""``lethe enrich``"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands import options as shared

if TYPE_CHECKING:
    from config.settings import Settings
    from runners.enrich import Planned
    from runners.enrich_report import Display
    from runners.runs import RunRecorder
    from schemas.contacts import EnrichmentPlan, EnrichmentReport
    from transforms.contacts.suppress import SuppressedContacts

OVER_ERROR_RATE = 3
"""Exit status of an enrichment whose output is there, but with too many contacts that failed."""


def command(
    contacts: Annotated[
        str,
        typer.Argument(
            metavar="CONTACTS",
            help="A JSON array, NDJSON or CSV file, local or s3://, packed or not.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            help="The file to make, or s3://BUCKET/KEY: .ndjson, .jsonl, .json, .csv or .parquet.",
        ),
    ],
    api: Annotated[str, typer.Option("--api", metavar="URL", help="The enrichment API.")],
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=10_000, help="Contacts of a call.")
    ] = 100,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=512, help="Calls at the same time.")
    ] = 32,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="Rename a column; may be repeated."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="At most so many calls a second: 200/s.")
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", help="A call that takes longer has failed.")
    ] = "10s",
    patience: Annotated[
        str, typer.Option("--patience", help="How long to wait for an API that takes no calls.")
    ] = "5m",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was cut off.")
    ] = False,
    max_error_rate: Annotated[
        float | None,
        typer.Option(
            "--max-error-rate",
            min=0,
            max=1,
            help="Exit with 3 above this share of failed contacts.",
        ),
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option(
            "--suppressed-by",
            metavar="LAKE",
            help="Leave out contacts of subjects that were erased from this lake.",
        ),
    ] = None,
    workers: shared.Workers = None,
    runner: shared.Runner = "direct",
    flink_master: shared.FlinkMaster = None,
    spark_master: shared.SparkMaster = None,
    worker_pool: shared.WorkerPool = None,
    report: shared.ReportFile = None,
) -> None:
    """Enrich a file of contacts: each comes out once, in order, enriched or with a reason."""
    from rich.console import Console

    from runners.choose import open_runner
    from runners.enrich import EnrichmentRequest, check_output, run_enrichment
    from runners.enrich_report import shown_enrichment
    from runners.runs import recorded_run
    from stores.enrichment.api import check_url
    from stores.enrichment.client import ApiSettings

    settings = shared.configured()
    where = shared.chosen_runner(settings, workers, runner, flink_master, spark_master, worker_pool)
    request = EnrichmentRequest(
        input=contacts,
        out=out,
        api=ApiSettings(
            url=check_url(api),
            concurrency=concurrency,
            timeout=shared.parse_seconds("--timeout", timeout),
            rate=None if rate is None else shared.parse_rate("--rate", rate),
            patience=shared.parse_seconds("--patience", patience),
        ),
        mapping=parse_mapping(mapping or []),
        batch_size=batch_size,
        resume=resume,
        workers=where.workers,
        s3=shared.s3_settings(settings),
        suppressed=None if lake is None else _suppressed_by(lake, settings),
    )
    check_output(request)
    limit = settings.delivery.max_error_rate if max_error_rate is None else max_error_rate
    with open_runner(where) as opened, recorded_run("enrich", settings) as run:
        with shown_enrichment(Console(stderr=True)) as display:
            run.hold()  # while the file is looked through
            planned = _when_planned(run, display)
            done = run_enrichment(request, opened, display.progress, planned)
        run.add(_counts(done))
        _conclude(done, report, limit)


def _when_planned(run: RunRecorder, display: Display) -> Planned:
    def planned(plan: EnrichmentPlan) -> None:
        run.release()
        display.planned(plan)

    return planned


def _suppressed_by(lake: str, settings: Settings) -> SuppressedContacts:
    from runners.enrich import suppressed_by

    return suppressed_by(lake, shared.parameter_store(settings), shared.s3_settings(settings))


def parse_mapping(pairs: list[str]) -> Mapping[str, str]:
    """``COLUMN=FIELD`` of each option; a column may hold a ``=``. Raises ``UsageError``."""
    from schemas.errors import UsageError

    found = {}
    for pair in pairs:
        column, equals, field = pair.rpartition("=")
        if not (column and equals and field):
            raise UsageError(f'--map {pair!r}: write it as "COLUMN=FIELD"')
        found[column] = field
    if len(found) < len(pairs) or len(set(found.values())) < len(pairs):
        raise UsageError("--map: name each column and each field once")
    return found


def _counts(done: EnrichmentReport) -> dict[str, int]:
    names = ("contacts", "enriched", "failed", "batches", "calls", "retries")
    return {name: getattr(done, name) for name in names}


def _conclude(done: EnrichmentReport, path: Path | None, limit: float) -> None:
    """Show the report; exit with 3 if too many contacts failed."""
    from rich.console import Console

    from runners.enrich_report import show_enrichment_report
    from runners.report import write_report

    if path is not None:
        write_report(done, path)
    show_enrichment_report(done, Console())
    if done.error_rate > limit:
        typer.echo(
            f"error: {done.error_rate:.1%} of the contacts failed, more than "
            f"--max-error-rate {limit:.1%}: the output says why",
            err=True,
        )
        raise typer.Exit(OVER_ERROR_RATE)
