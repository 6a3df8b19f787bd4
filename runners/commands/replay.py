"""``lethe replay``"""

from __future__ import annotations

from typing import Annotated

import typer

from runners.commands import options as shared


def command(
    lake: shared.Lake,
    code: Annotated[
        str | None, typer.Option("--code", help="Only dead letters with this error code.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only dead letters of this time or later.")
    ] = None,
    schemas: shared.Schemas = None,
    fmt: shared.Format = None,
    codec: shared.Codec = None,
    workers: shared.Workers = None,
    unknown_fields: shared.UnknownFieldsOption = None,
    partition_timezone: shared.PartitionTimezone = None,
    max_error_rate: shared.MaxErrorRate = None,
    report: shared.ReportFile = None,
) -> None:
    """Send dead letters through the delivery again, after what was wrong has been mended."""
    from rich.console import Console

    from runners.commands.deliver import conclude
    from runners.deliver import Delivery
    from runners.direct import DirectRunner
    from runners.replay import replay_round
    from runners.runs import counts_of, recorded_run
    from schemas.changes import ErrorCode
    from schemas.errors import UsageError
    from stores.inputs import InputOpener
    from transforms.letters import LetterFilter

    settings = shared.configured()
    if code is not None and code not in set(ErrorCode):
        raise UsageError(f"--code {code!r}: no such error code: choose one of {_codes()}")
    rules = shared.RuleOptions(
        schemas, unknown_fields=unknown_fields, partition_timezone=partition_timezone
    )
    delivery = Delivery(
        inputs=(),
        store=shared.build_store(settings, lake),
        opener=InputOpener(),
        rules=shared.build_rules(settings, rules),
        output=shared.build_output(settings, fmt, codec),
        workers=workers or 1,
        work_folder=settings.delivery.work_folder,
    )
    chosen = LetterFilter(code, shared.parse_moment("--since", since))
    rate = settings.delivery.max_error_rate if max_error_rate is None else max_error_rate
    with DirectRunner(delivery.workers) as runner, recorded_run("replay", settings) as run:
        done = replay_round(delivery, chosen, runner, Console(stderr=True))
        run.add(counts_of(done))
        conclude(done, report, rate)


def _codes() -> str:
    from schemas.changes import ErrorCode

    return ", ".join(ErrorCode)
