"""``schedule.yaml``: the jobs, checked down to the options of their commands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
import yaml
from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from runners.cli import COMMANDS, build_app
from runners.commands.options import parse_duration
from schemas.errors import UsageError

NOT_JOBS = frozenset({"schedule", "runs", "job", "serve"})
"""Commands that make no sense as a job."""

_OLDEST = datetime(2000, 1, 1, tzinfo=UTC)


class MissedRuns(StrEnum):
    """What becomes of due times that went by while nobody could act on them."""

    ONCE = "once"
    SKIP = "skip"


def _check_cron(expression: str) -> str:
    try:
        next(CronSim(expression, _OLDEST))
    except CronSimError as error:
        raise ValueError(f"{expression!r} is no cron expression: {error}") from None
    except StopIteration:
        raise ValueError(f"{expression!r} is never due") from None
    return expression


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write one as Europe/Berlin") from None


def _duration(text: object) -> timedelta:
    try:
        return timedelta(seconds=parse_duration("value", str(text)) or 0)
    except UsageError:
        raise ValueError(f"{text!r} is no length of time: write 90s, 15m, 6h or 1d") from None


def _check_command(words: tuple[str, ...]) -> tuple[str, ...]:
    """Parse the command as the command line would, and do not run it."""
    known = [name for name in COMMANDS if name not in NOT_JOBS]
    if words[0] not in known:
        raise ValueError(f"no command {words[0]!r}: choose one of {', '.join(known)}")
    if "--help" in words:
        raise ValueError("it asks for help only")
    try:
        _parse(build_app(words[0]), words)
    except typer.TyperException as error:
        raise ValueError(f"lethe {words[0]}: {error.format_message()}") from None
    return words


def _parse(app: typer.Typer, words: tuple[str, ...]) -> None:
    """Find the command among groups of commands, and have it read its options."""
    command: Any = typer.main.get_command(app)
    rest = [*words]
    context = command.make_context("lethe", [*rest])
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        if not rest and hasattr(command, "resolve_command"):
            raise ValueError(f"lethe {name}: name one of its commands")
        context = command.make_context(name, [*rest], parent=context)


Cron = Annotated[str, AfterValidator(_check_cron)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, coerce_numbers_to_str=True
    )


class Job(_Section):
    """One job as the file has it; without a zone, the schedule's is meant."""

    cron: Cron
    command: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_check_command)]
    timezone: Zone | None = None
    missed: MissedRuns = MissedRuns.ONCE
    attempts: int = Field(default=1, ge=1, le=100)
    delay: Duration = timedelta(seconds=30)


class Schedule(_Section):
    """A whole file. Processes that run a schedule of one ``name`` share its leader and history.

    ``lease`` is how long a leader that went silent is waited for, ``grace`` how long running jobs
    may take to end when the scheduler does.
    """

    name: Name = "default"
    timezone: Zone = ZoneInfo("UTC")
    lease: Duration = timedelta(seconds=15)
    grace: Duration = timedelta(minutes=5)
    jobs: dict[Name, Job] = Field(min_length=1)

    @property
    def late_after(self) -> timedelta:
        """From when on a run counts as missed: a change of leader is no reason to miss one."""
        return max(timedelta(minutes=1), 2 * self.lease)


def load_schedule(path: Path) -> Schedule:
    """Read and check a schedule. Raises ``UsageError`` naming the file and every bad field."""
    try:
        return Schedule.model_validate(_read(path))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        said = "; ".join(f"{_field(p['loc'])}: {_message(p['msg'])}" for p in problems)
        raise UsageError(f"{path}: {said}") from None


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"{path}: cannot be read: {reason}") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: is not YAML: {type(error).__name__}") from None


class _Loader(yaml.SafeLoader):
    """Plain YAML, in which a name that is there twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in {name for name in names if names.count(name) > 1}:
            raise yaml.constructor.ConstructorError(
                None, None, f"{name!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the file"


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")
