"""Options in words, as seconds and moments."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from config.settings import load_settings
from runners.commands.options import RuleOptions, build_rules, parse_duration, parse_moment
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("6h", 21_600), ("1d", 86_400)]
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration("--every", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5", "5w", "-5s", "0s", "1.5h", "5 s", "²s", "٣d", "36501d", "9" * 5000 + "s"]
)
def test_another_length_of_time_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--every"):
        parse_duration("--every", text)


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2026-01-02", 0), ("2026-01-02T05:00:00Z", 5), ("2026-01-02T05:00+02:00", 3)],
)
def test_a_moment_is_utc_unless_it_names_a_zone(text: str, hour: int) -> None:
    assert parse_moment("--since", text) == datetime(2026, 1, 2, hour, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "today", "2026-02-30", "12:00"])
def test_another_moment_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        parse_moment("--since", text)


def test_times_with_nothing_between_them_are_refused() -> None:
    options = RuleOptions(None, since="2026-02-01", until="2026-01-01")
    with pytest.raises(UsageError, match="--since '2026-02-01' --until '2026-01-01'"):
        build_rules(load_settings(), options)
