"""What becomes of an error on its way to the user."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import apache_beam as beam
import pytest

from runners import cli
from runners.direct import DirectRunner
from runners.engines.errors import EngineUnreachable
from runners.results import own_errors, stage_error
from schemas.errors import InputError, LetheError, StoreFull
from stores.log import SourceTaken
from transforms.shards import StreamGap


def fail(error: Exception) -> None:
    raise error


def run_failing(error: Exception) -> None:
    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create([1]) | "Fail" >> beam.Map(lambda _: fail(error))

    with DirectRunner(1) as runner:
        runner.run(build, 1)


@pytest.mark.parametrize("error", [InputError("a: is gone"), StoreFull("b: full", path="b")])
def test_an_error_leaves_a_pipeline_as_it_was_raised(error: LetheError) -> None:
    with pytest.raises(type(error)) as raised:
        run_failing(error)
    assert raised.value.message == error.message


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("schemas.errors.StoreFull: x: no room", StoreFull, "x: no room"),
        ("stores.log_conflicts.SourceTaken: s: taken", SourceTaken, "s: taken"),
        ("transforms.shards.StreamGap: s: gap", StreamGap, "s: gap"),
        ("runners.engines.errors.EngineUnreachable: no", EngineUnreachable, "no"),
        ("schemas.errors.InputError: a [while running 'B'] [while running 'C']", InputError, "a"),
    ],
)
def test_a_workers_error_is_found_in_what_beam_passes_on(
    text: str, kind: type[LetheError], message: str
) -> None:
    found = stage_error(RuntimeError(f"Traceback (most recent call last):\n  File x\n{text}\n"))
    assert (type(found), str(found)) == (kind, message)


def test_a_workers_other_error_stays_what_it_is() -> None:
    error = RuntimeError("Traceback (most recent call last):\n  File x\nValueError: 1")
    assert stage_error(error) is error


def test_the_last_of_several_errors_is_the_one_that_came_through() -> None:
    text = "schemas.errors.StoreFull: a\n\nDuring handling:\nschemas.errors.InputError: b"
    assert isinstance(stage_error(RuntimeError(text)), InputError)


def test_an_error_of_this_process_keeps_its_details() -> None:
    found = stage_error(StoreFull("b: full [while running 'Write']", path="b"))
    assert (str(found), getattr(found, "details", None)) == ("b: full", {"path": "b"})


@pytest.mark.parametrize("kind", own_errors().values(), ids=lambda kind: kind.__name__)
def test_every_error_comes_back_as_itself(kind: type[LetheError]) -> None:
    trace = "".join(traceback.format_exception(kind("said")))
    assert type(stage_error(RuntimeError(trace))) is kind


def test_a_mistake_of_ours_is_shown_by_its_place_and_without_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    monkeypatch.setattr(cli, "configure_logs", lambda: None)
    monkeypatch.setattr(cli, "_leave", left.append)
    monkeypatch.setattr(cli, "build_app", lambda _: fail(ValueError("jane.doe@example.com")))
    cli.main()
    said = capsys.readouterr().err
    assert (left, "jane" in said, "error: ValueError" in said) == ([1], False, True)
    assert f'File "{Path(__file__)}"' in said


def test_output_that_has_no_room_is_no_mistake_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    monkeypatch.setattr(cli, "configure_logs", lambda: None)
    monkeypatch.setattr(cli, "_leave", left.append)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(cli, "build_app", lambda _: fail(full))
    cli.main()
    said = capsys.readouterr().err
    assert (left, said) == ([1], "error: the output: No space left on device: free some room\n")
