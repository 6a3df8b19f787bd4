"""Settings: a file an environment, overridden by variables; secrets are never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config.sections import ParameterSource
from config.settings import FOLDER, Settings, load_settings
from runners.commands.options import s3_settings
from schemas.errors import UsageError

ENVIRONMENTS = ("local", "test", "dev1", "qa1", "preprod1", "prod1")
SECRET = "a-secret-nobody-may-see"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests do not count."""
    for name in list(os.environ):
        if name.startswith("LETHE_"):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"LETHE_{name}", value)
    return load_settings()


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(monkeypatch, **variables)
    return caught.value.message


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_has_a_file_that_loads(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert load(monkeypatch, ENV=name).env == name


def test_there_is_no_file_beyond_the_environments() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*ENVIRONMENTS}


def test_local_is_the_environment_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    assert (settings.env, settings.parameters.source) == ("local", ParameterSource.FILE)


@pytest.mark.parametrize("name", ["dev1", "qa1", "preprod1", "prod1"])
def test_deployed_environment_keeps_its_secrets_in_ssm(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    parameters = load(monkeypatch, ENV=name).parameters
    assert (parameters.source, parameters.prefix) == (ParameterSource.SSM, f"/lethe/{name}/")


def test_production_takes_fewer_dead_letters_than_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = load(monkeypatch, ENV="dev1").delivery.max_error_rate
    assert load(monkeypatch, ENV="prod1").delivery.max_error_rate < usual


def test_variable_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, ENV="dev1", LOG_LEVEL="ERROR").log_level == "ERROR"


def test_nested_variable_overrides_its_value_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = load(monkeypatch, ENV="prod1", PARAMETERS__PREFIX="/other/").parameters
    assert (parameters.prefix, parameters.source) == ("/other/", ParameterSource.SSM)


def test_nested_variables_reach_every_section(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        S3__ENDPOINT_URL="http://localhost:9000",
        DELIVERY__WORKERS="3",
        DELIVERY__WORK_FOLDER="/scratch",
        ENGINES__FOLDER="/engines",
    )
    assert settings.s3.endpoint_url == "http://localhost:9000"
    assert settings.delivery.workers == 3
    assert settings.delivery.work_folder == Path("/scratch")
    assert settings.engines.folder == Path("/engines")


def test_engines_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert load(monkeypatch).engines.folder == Path("/cache/lethe/engines")


def test_unknown_environment_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = refusal(monkeypatch, ENV="prod2")
    assert "prod2" in message
    assert all(name in message for name in ENVIRONMENTS)


def test_environment_is_a_name_and_no_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('log_level = "DEBUG"')
    assert "has no settings file" in refusal(monkeypatch, ENV=str(tmp_path / "own"))


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("DELIVERY__WORKERS", "many", "delivery.workers"),
        ("DELIVERY__WORKERS", "0", "delivery.workers"),
        ("DELIVERY__WORKERS", "257", "delivery.workers"),
        ("DELIVERY__ROTATE_ROWS", "0", "delivery.rotate_rows"),
        ("DELIVERY__ROTATE_BYTES", "10", "delivery.rotate_bytes"),
        ("DELIVERY__MAX_ERROR_RATE", "1.5", "delivery.max_error_rate"),
        ("PARAMETERS__SOURCE", "vault", "parameters.source"),
        ("S3__ENDPOINT", "http://localhost", "s3.endpoint"),
        ("DELIVERY__WORKER", "2", "delivery.worker"),
        ("LOG_LEVEL", "LOUD", "log_level"),
        ("DSR__LAKE__EXPORT_ENCRYPT_TO", '["AGE-SECRET-KEY-1X"]', "dsr.lake.export_encrypt_to"),
    ],
)
def test_bad_value_is_refused_by_its_settings_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    assert f"{named}: " in refusal(monkeypatch, **{variable: value})


def test_section_that_is_no_json_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert '"s3"' in refusal(monkeypatch, S3="no JSON")


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, DELIVERY__WORKERS="x", DELIVERY__MAX_ERROR_RATE="y")
    assert "delivery.workers: " in message
    assert "delivery.max_error_rate: " in message


@pytest.mark.parametrize("name", ["ACCESS_KEY", "SECRET_KEY", "SESSION_TOKEN"])
def test_secret_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings = load(monkeypatch, **{f"S3__{name}": SECRET})
    texts = (repr(settings), str(settings), settings.model_dump_json(), repr(settings.s3))
    assert not any(SECRET in text for text in texts)


def test_secret_reaches_the_store_and_not_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = s3_settings(load(monkeypatch, S3__SECRET_KEY=SECRET))
    assert s3.secret_key == SECRET
    assert SECRET not in repr(s3)


@pytest.mark.parametrize(
    "variable", ["S3__ENDPOINT", "DELIVERY__WORKERS", "PARAMETERS__SOURCE", "LOG_LEVEL", "S3"]
)
def test_refusal_does_not_repeat_a_value(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A secret may have been put into the wrong variable."""
    monkeypatch.setenv("LETHE_DELIVERY__WORKERS", "none")
    assert SECRET not in refusal(monkeypatch, **{variable: SECRET})


@pytest.mark.parametrize("runner", ["flink", "spark"])
def test_cluster_of_jobs_has_to_be_named(monkeypatch: pytest.MonkeyPatch, runner: str) -> None:
    with pytest.raises(UsageError, match=f"runner {runner} needs {runner}_master"):
        load(monkeypatch, SERVICE__ENRICHMENT__RUNNER=runner)


def test_settings_cannot_be_changed_once_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    with pytest.raises(ValueError, match="frozen"):
        settings.log_level = "DEBUG"


def test_delivery_option_replaces_its_setting_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, DELIVERY__WORKERS="3")
    changed = settings.with_delivery(rotate_rows=10, rotate_bytes=None).delivery
    assert (changed.rotate_rows, changed.rotate_bytes) == (10, settings.delivery.rotate_bytes)
    assert changed.workers == 3
