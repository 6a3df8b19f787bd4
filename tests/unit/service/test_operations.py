"""Operations are measured by a clock that goes when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from config.service import ObserveSection, SlowSection
from schemas.errors import NotFound
from service.observe.operations import (
    Measured,
    Operations,
    Severity,
    SlowOperations,
    current,
)


class FakeTime:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def told() -> list[Measured]:
    return []


@pytest.fixture
def operations(told: list[Measured], time: FakeTime) -> Operations:
    return Operations([told.append], time)


def test_an_operation_tells_how_long_it_took(
    operations: Operations, told: list[Measured], time: FakeTime
) -> None:
    with operations.measure("enrichment.submit"):
        time.now += 0.25
    assert [(m.name, m.seconds, m.error) for m in told] == [("enrichment.submit", 0.25, None)]


def test_calls_elsewhere_are_counted_by_service(
    operations: Operations, told: list[Measured], time: FakeTime
) -> None:
    with operations.measure("a") as operation:
        for service in ("jwks", "uploads", "uploads"):
            with operation.external(service):
                time.now += 1
    assert {name: (s.calls, s.seconds) for name, s in told[0].external.items()} == {
        "jwks": (1, 1.0),
        "uploads": (2, 2.0),
    }


def test_a_call_that_fails_counts(operations: Operations, told: list[Measured]) -> None:
    with (
        pytest.raises(ConnectionError),
        operations.measure("a") as operation,
        operation.external("jwks"),
    ):
        raise ConnectionError
    assert told[0].external["jwks"].calls == 1


@pytest.mark.parametrize(
    ("error", "known_as"), [(NotFound("nothing"), "not_found"), (KeyError("x"), "KeyError")]
)
def test_an_error_is_told_by_its_type(
    operations: Operations, told: list[Measured], error: Exception, known_as: str
) -> None:
    with pytest.raises(type(error)), operations.measure("a"):
        raise error
    assert told[0].error == known_as


def test_an_inner_operation_counts_for_the_outer_one_too(
    operations: Operations, told: list[Measured]
) -> None:
    with operations.measure("outer"), operations.measure("inner") as inner:
        inner.database.add(2, 0.5)
        inner.add_external("jwks", 1, 0.1)
    assert [(m.name, m.database.calls, m.external["jwks"].calls) for m in told] == [
        ("inner", 2, 1),
        ("outer", 2, 1),
    ]


def test_threads_have_operations_of_their_own(operations: Operations) -> None:
    seen: list[object] = []
    with operations.measure("a"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_nothing_is_under_way_after_an_operation(operations: Operations) -> None:
    with operations.measure("a"):
        pass
    assert current() is None


SETTINGS = ObserveSection(
    warning_seconds=0.5,
    critical_seconds=2.0,
    operations={"export": SlowSection(warning_seconds=60, critical_seconds=600)},
)

Slow = tuple[str, Severity]


@pytest.fixture
def slow() -> list[Slow]:
    return []


@pytest.fixture
def take(slow: list[Slow], time: FakeTime) -> Callable[[str, float], None]:
    """Have an operation of this name take so long."""
    sink = SlowOperations(SETTINGS, lambda name, severity: slow.append((name, severity)))
    operations = Operations([sink], time)

    def take(name: str, seconds: float) -> None:
        with operations.measure(name) as operation:
            operation.database.add(3, 0.25)
            time.now += seconds

    return take


Take = Callable[[str, float], None]


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [(0.5, Severity.WARNING), (2.0, Severity.CRITICAL)],
)
def test_an_operation_at_a_threshold_is_slow(
    take: Take, slow: list[Slow], seconds: float, severity: Severity
) -> None:
    take("a", seconds)
    assert slow == [("a", severity)]


def test_a_fast_operation_is_not_told_of(take: Take, slow: list[Slow]) -> None:
    with capture_logs() as lines:
        take("a", 0.25)
    assert (slow, lines) == ([], [])


def test_an_operation_may_have_thresholds_of_its_own(take: Take, slow: list[Slow]) -> None:
    take("export", 59)
    take("export", 61)
    assert slow == [("export", Severity.WARNING)]


def test_a_slow_operation_is_logged_with_what_it_spent(take: Take) -> None:
    with capture_logs() as lines:
        take("a", 2.5)
    (line,) = lines
    assert (line["event"], line["log_level"], line["severity"]) == (
        "slow operation",
        "error",
        "critical",
    )
    assert (line["operation"], line["seconds"], line["database_calls"]) == ("a", 2.5, 3)
