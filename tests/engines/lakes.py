"""Lakes made through the ``lethe`` command, in this process."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from runners.cli import build_app
from tests.engines.oracle import SCRUB_KEY

EXAMPLES = Path(__file__).parents[2] / "examples"


def lethe(*arguments: object) -> Result:
    """Run a command, as a user would who has set the scrubbing key."""
    words = [str(argument) for argument in arguments]
    return CliRunner(env={"LETHE_SCRUB_KEY": SCRUB_KEY}).invoke(build_app(), words)


def done(*arguments: object) -> str:
    """What a command printed that must have ended well."""
    result = lethe(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def make_lake(lake: Path, inputs: tuple[Path, ...], *options: object) -> Path:
    """A lake that the inputs were delivered into."""
    done("deliver", *inputs, "--lake", lake, "--workers", 1, *options)
    return lake


def generated(path: Path, count: int) -> Path:
    """A file of change records of the four shipped types."""
    done("generate", "changes", "--count", count, "--seed", 7, "--out", path)
    return path
