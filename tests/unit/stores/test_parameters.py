"""Parameters: secrets from a file, from variables or from SSM, each cached for five minutes."""

from __future__ import annotations

import multiprocessing
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from config.sections import ParameterSection, ParameterSource
from schemas.errors import AccessDenied, LetheError, StoreUnavailable, UsageError
from stores.parameters import (
    CACHED_FOR,
    SCRUB_KEY,
    EnvironmentParameters,
    FileParameters,
    ParameterStore,
    SsmParameters,
    open_parameters,
    scrub_key,
)

RACERS = 8
SECRET = "0123456789abcdef-secret"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counting(ParameterStore):
    """Gives another value each time it is really asked."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.asked = 0

    def _fetch(self, name: str) -> str:
        self.asked += 1
        return f"{name} {self.asked}"


def test_value_is_used_again_for_five_minutes() -> None:
    clock = Clock()
    store = Counting(clock)
    store.get("a")
    clock.now += 299.9
    assert store.get("a") == "a 1"


def test_value_is_asked_for_again_after_five_minutes() -> None:
    clock = Clock()
    store = Counting(clock)
    store.get("a")
    clock.now += 300
    assert (store.get("a"), CACHED_FOR) == ("a 2", 300)


def test_renewed_value_lives_for_five_minutes_more() -> None:
    clock = Clock()
    store = Counting(clock)
    for _ in range(3):
        store.get("a")
        clock.now += 299
    assert store.asked == 2


def test_names_are_cached_apart() -> None:
    store = Counting(Clock())
    assert [store.get("a"), store.get("b"), store.get("a")] == ["a 1", "b 2", "a 1"]


def test_failure_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    store = EnvironmentParameters(Clock())
    with pytest.raises(UsageError):
        store.get("late-one")
    monkeypatch.setenv("LETHE_LATE_ONE", SECRET)
    assert store.get("late-one") == SECRET


def test_parameter_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", SECRET)
    assert EnvironmentParameters().get(SCRUB_KEY) == SECRET


@pytest.mark.parametrize("value", [None, ""])
def test_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("LETHE_SCRUB_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("LETHE_SCRUB_KEY", value)
    with pytest.raises(UsageError, match="LETHE_SCRUB_KEY"):
        EnvironmentParameters().get(SCRUB_KEY)


@pytest.mark.parametrize("source", [*ParameterSource])
def test_variable_wins_over_every_source(
    source: ParameterSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", SECRET)
    store = open_parameters(ParameterSection(source=source, folder=tmp_path / "made"))
    assert store.get(SCRUB_KEY) == SECRET
    assert not (tmp_path / "made").exists()


def test_empty_variable_wins_over_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", "")
    (tmp_path / SCRUB_KEY).write_text(SECRET)
    assert FileParameters(tmp_path).get(SCRUB_KEY) == SECRET


def test_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "lethe"
    FileParameters(folder).get(SCRUB_KEY)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / SCRUB_KEY)]
    assert modes == [0o700, 0o600]


def test_file_is_made_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileParameters(tmp_path).get(SCRUB_KEY)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / SCRUB_KEY).stat().st_mode) == 0o600


def test_file_is_made_once(tmp_path: Path) -> None:
    made = FileParameters(tmp_path).get(SCRUB_KEY)
    assert FileParameters(tmp_path).get(SCRUB_KEY) == made


def test_two_files_hold_different_values(tmp_path: Path) -> None:
    store = FileParameters(tmp_path)
    assert store.get("a") != store.get("b")


def test_made_value_is_long_enough_to_be_a_key(tmp_path: Path) -> None:
    assert len(scrub_key(FileParameters(tmp_path))) >= 32


def test_file_of_ones_own_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / SCRUB_KEY).write_text(SECRET + "\n")
    assert FileParameters(tmp_path).get(SCRUB_KEY) == SECRET


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    FileParameters(tmp_path).get(SCRUB_KEY)
    assert [path.name for path in tmp_path.iterdir()] == [SCRUB_KEY]


def _race(folder: Path, start: Any, answers: Any) -> None:
    start.wait()
    answers.put(FileParameters(folder).get(SCRUB_KEY))


@pytest.mark.parametrize("round_number", range(5))
def test_processes_that_race_agree_on_one_value(tmp_path: Path, round_number: int) -> None:
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=_race, args=(tmp_path, start, answers)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    values = {answers.get(timeout=30) for _ in racers}
    for racer in racers:
        racer.join(30)
    assert values == {(tmp_path / SCRUB_KEY).read_text()}
    assert [path.name for path in tmp_path.iterdir()] == [SCRUB_KEY]


def test_folder_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(AccessDenied, match="taken"):
        FileParameters(tmp_path / "taken").get(SCRUB_KEY)


def test_empty_file_is_refused_and_not_used(tmp_path: Path) -> None:
    (tmp_path / SCRUB_KEY).touch()
    with pytest.raises(UsageError, match="at least 16"):
        scrub_key(FileParameters(tmp_path))


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("ssm")


@pytest.mark.parametrize("prefix", ["/lethe/prod1/", "/lethe/prod1"])
def test_secure_string_is_decrypted(ssm: Any, prefix: str) -> None:
    ssm.put_parameter(Name="/lethe/prod1/scrub-key", Value=SECRET, Type="SecureString")
    assert SsmParameters(prefix).get(SCRUB_KEY) == SECRET


def test_changed_parameter_is_seen_after_five_minutes(ssm: Any) -> None:
    clock = Clock()
    store = SsmParameters("/lethe/", ssm, clock)
    ssm.put_parameter(Name="/lethe/scrub-key", Value="old", Type="SecureString")
    first = store.get(SCRUB_KEY)
    ssm.put_parameter(Name="/lethe/scrub-key", Value="new", Type="SecureString", Overwrite=True)
    seen = [first, store.get(SCRUB_KEY)]
    clock.now += 300
    assert [*seen, store.get(SCRUB_KEY)] == ["old", "old", "new"]


def test_missing_parameter_is_named_in_full(ssm: Any) -> None:
    with pytest.raises(UsageError, match="/lethe/dev1/scrub-key"):
        SsmParameters("/lethe/dev1/", ssm).get(SCRUB_KEY)


class Refusing:
    """An SSM client that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_parameter(self, **_: Any) -> Any:
        raise self._error


def refused(code: str) -> Refusing:
    detail = {"Code": code, "Message": f"no access with {SECRET}"}
    return Refusing(ClientError({"Error": detail}, "GetParameter"))


@pytest.mark.parametrize(
    ("client", "kind"),
    [
        (refused("AccessDeniedException"), AccessDenied),
        (refused("ExpiredTokenException"), AccessDenied),
        (refused("ThrottlingException"), StoreUnavailable),
        (Refusing(EndpointConnectionError(endpoint_url="http://ssm")), StoreUnavailable),
    ],
)
def test_refusal_says_what_may_help(client: Refusing, kind: type[LetheError]) -> None:
    with pytest.raises(kind, match="/lethe/scrub-key") as caught:
        SsmParameters("/lethe/", client).get(SCRUB_KEY)
    assert caught.value.retryable == (kind is StoreUnavailable)


def test_answer_of_the_service_is_not_repeated() -> None:
    with pytest.raises(AccessDenied) as caught:
        SsmParameters("/lethe/", refused("AccessDeniedException")).get(SCRUB_KEY)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_short_key_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", "short-secret")
    with pytest.raises(UsageError, match="at least 16") as caught:
        scrub_key(EnvironmentParameters())
    assert "short-secret" not in str(caught.value)


def test_store_does_not_show_what_it_has_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", SECRET)
    store = EnvironmentParameters()
    store.get(SCRUB_KEY)
    assert SECRET not in repr(store)
