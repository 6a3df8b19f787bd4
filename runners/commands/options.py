"""Options that several commands share, and how they become the objects a delivery needs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from schemas.errors import InputError, UsageError

if TYPE_CHECKING:
    from beam_pipelines.deliver import Rules
    from config.settings import Settings
    from runners.options import RunnerOptions
    from schemas.registry import Registry
    from stores.objects import ObjectStore, S3Settings
    from stores.parameters import ParameterStore
    from transforms.filter import ChangeFilter
    from transforms.rotate import Windowing
    from transforms.write import Output

T = TypeVar("T")


def no_dash(option: typer.CallbackParam, value: T) -> T:
    """Output has to have a name. Raises ``UsageError`` for ``-``, by which input may be named."""
    if str(value) == "-":
        raise UsageError(
            f"{option.opts[0]} -: name a file: standard output is for what is reported"
        )
    return value


Lake = Annotated[str, typer.Option("--lake", help="The lake: a folder or s3://BUCKET/PREFIX.")]
Schemas = Annotated[
    Path | None, typer.Option("--schemas", help="A folder of record schemas of your own.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=256, help="Processes (default: all cores).")
]
Runner = Annotated[
    str, typer.Option("--runner", help="Where the pipeline runs: direct, prism, flink, spark.")
]
FlinkMaster = Annotated[
    str | None, typer.Option("--flink-master", metavar="HOST:PORT", help="Flink's REST service.")
]
SparkMaster = Annotated[
    str | None, typer.Option("--spark-master", metavar="URL", help="spark://HOST:PORT")
]
WorkerPool = Annotated[
    str | None,
    typer.Option(
        "--worker-pool", metavar="HOST:PORT", help="The pool beside the cluster's workers."
    ),
]
Format = Annotated[str | None, typer.Option("--format", help="parquet or avro.")]
Codec = Annotated[
    str | None,
    typer.Option(
        "--codec",
        help="Parquet: zstd, snappy, gzip, none. Avro: zstandard, snappy, deflate, null.",
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option("--report", callback=no_dash, help="Write the report here, as JSON."),
]
UnknownFieldsOption = Annotated[
    str | None,
    typer.Option("--unknown-fields", help="keep (as JSON in `extra`), discard, or reject."),
]
PartitionTimezone = Annotated[
    str | None,
    typer.Option("--partition-timezone", help="The zone of partition dates (default: UTC)."),
]
MaxErrorRate = Annotated[
    float | None,
    typer.Option(
        "--max-error-rate", min=0, max=1, help="Exit with 3 above this share of dead letters."
    ),
]


LONGEST_DAYS = 36_500
"""Lengths of time are of a century at most, as no calendar goes on for ever."""


@dataclass(frozen=True)
class RuleOptions:
    """The options that say what becomes of a record."""

    schemas: Path | None
    types: str | None = None
    events: str | None = None
    since: str | None = None
    until: str | None = None
    unknown_fields: str | None = None
    partition_timezone: str | None = None
    window: str | None = None


def configured() -> Settings:
    """The settings of this environment; logs are written as they say from now on."""
    from config.settings import load_settings
    from runners.logs import configure_logs

    settings = load_settings()
    configure_logs(settings.log_level, form=settings.log_format)
    return settings


def chosen_runner(
    settings: Settings,
    workers: int | None,
    name: str,
    flink: str | None,
    spark: str | None,
    worker_pool: str | None,
) -> RunnerOptions:
    """Where the work is done, by how many. Raises ``UsageError`` naming a bad option."""
    from runners.options import runner_options

    return runner_options(name, worker_count(settings, workers), flink, spark, worker_pool)


def build_store(settings: Settings, lake: str) -> ObjectStore:
    from stores.objects import open_store

    return open_store(lake, s3_settings(settings))


def check_lake(store: ObjectStore) -> None:
    """Raise ``UsageError`` if there is no lake: nothing is easily done where nothing is."""
    if not any(next(store.list(start), None) for start in ("type=", "errors/", "_lethe/log/")):
        raise UsageError(f"--lake {store.uri}: there is no lake, not even an empty one")


def s3_settings(settings: Settings) -> S3Settings:
    """The settings' S3 section as the store takes it."""
    from stores.objects import S3Settings

    return S3Settings.of(settings.s3)


def build_registry(settings: Settings, schemas: Path | None) -> Registry:
    """The shipped types and those of the folder that the option, or else the setting, names."""
    from schemas.registry import load_registry

    return load_registry(schemas or settings.schemas)


def build_rules(settings: Settings, options: RuleOptions) -> Rules:
    """The rules that options and settings ask for. Raises ``UsageError`` naming a bad option."""
    from beam_pipelines.deliver import Rules
    from transforms.decode import UnknownFields
    from transforms.partition import Partitioning
    from transforms.scrub import ScrubKey

    defaults = settings.delivery
    registry = build_registry(settings, options.schemas)
    policy = options.unknown_fields or defaults.unknown_fields
    if policy not in set(UnknownFields):
        raise UsageError(f"--unknown-fields {policy!r}: choose keep, discard or reject")
    zone = options.partition_timezone or defaults.partition_timezone
    return Rules(
        registry=registry,
        scrub_key=ScrubKey.of(parameter_store(settings)),
        wanted_types=_wanted_types(options.types, frozenset(registry.types)),
        wanted=_wanted(options),
        unknown_fields=UnknownFields(policy),
        partitioning=Partitioning(_zone(zone), parse_duration("--window", options.window)),
    )


def build_output(settings: Settings, fmt: str | None, codec: str | None) -> Output:
    from transforms.write import Rotation, choose_output

    defaults = settings.delivery
    rotation = Rotation(defaults.rotate_rows, defaults.rotate_bytes)
    chosen = fmt or defaults.format
    inherited = defaults.codec if chosen == defaults.format else None
    return choose_output(chosen, codec or inherited, rotation)


def build_windowing(output: Output, lateness: str, idle: str) -> Windowing:
    """When a stream's rows become files. Raises ``UsageError`` naming a bad option."""
    from transforms.rotate import Windowing

    return Windowing(
        idle=float(parse_duration("--idle", idle) or 0),
        lateness=float(parse_duration("--allowed-lateness", lateness) or 0),
        rows=min(Windowing.rows, output.rotation.rows),
    )


def parameter_store(settings: Settings) -> ParameterStore:
    """Where secrets come from."""
    from stores.parameters import open_parameters

    return open_parameters(settings.parameters)


def worker_count(settings: Settings, workers: int | None) -> int:
    return workers or settings.delivery.workers or os.cpu_count() or 1


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Text is read from a file, or from standard input. Raises ``InputError``, naming it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not in UTF-8: convert it") from None


def parse_duration(option: str, text: str | None, most_days: int = LONGEST_DAYS) -> int | None:
    """``90s``, ``15m``, ``6h``, ``1d`` in seconds. Raises ``UsageError``."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    found = re.fullmatch(r"0*([1-9][0-9]{0,11})([smhd])", text)
    if found is None:
        raise UsageError(f"{option} {text!r}: write a length of time as 90s, 15m, 6h or 1d")
    seconds = int(found[1]) * units[found[2]]
    if seconds > most_days * units["d"]:
        raise UsageError(f"{option} {text!r}: at most {most_days}d")
    return seconds


def parse_seconds(option: str, text: str) -> float:
    """``50ms``, ``10s``, ``5m``, ``1h`` in seconds. Raises ``UsageError``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if found is None or float(found[1]) == 0:
        raise UsageError(f"{option} {text!r}: write a length of time as 50ms, 10s or 5m")
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]]


def parse_rate(option: str, text: str) -> float:
    """``200/s`` or ``600/m`` as a number a second. Raises ``UsageError``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)/(s|m)", text)
    if found is None or float(found[1]) == 0:
        raise UsageError(f"{option} {text!r}: write a rate as 200/s or 600/m")
    return float(found[1]) / {"s": 1, "m": 60}[found[2]]


def parse_moment(option: str, text: str | None) -> datetime | None:
    """A date or a time in ISO 8601; UTC unless it names a zone. Raises ``UsageError``."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: write a time as 2026-01-02T03:04:05Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _wanted(options: RuleOptions) -> ChangeFilter:
    from transforms.filter import ChangeFilter

    since = parse_moment("--since", options.since)
    until = parse_moment("--until", options.until)
    if since is not None and until is not None and since >= until:
        raise UsageError(
            f"--since {options.since!r} --until {options.until!r}: no time is between them"
        )
    return ChangeFilter(events=_events(options.events), since=since, until=until)


def _names(text: str | None) -> frozenset[str]:
    return frozenset(name.strip() for name in (text or "").split(",") if name.strip())


def _wanted_types(text: str | None, known: frozenset[str]) -> frozenset[str] | None:
    wanted = _names(text)
    if wanted - known:
        unknown, all_known = ", ".join(sorted(wanted - known)), ", ".join(sorted(known))
        raise UsageError(f"--types: no schema for {unknown}: known types are {all_known}")
    return wanted or None


def _events(text: str | None) -> frozenset[str]:
    events = frozenset(name.upper() for name in _names(text))
    if events - {"INSERT", "MODIFY", "REMOVE"}:
        raise UsageError(f"--events {text!r}: choose among INSERT, MODIFY and REMOVE")
    return events


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"--partition-timezone {name!r}: no such time zone") from None
    return name
