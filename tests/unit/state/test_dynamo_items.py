"""Items of DynamoDB: records come back, keys are never mixed up and sort as what they say."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.jobs import Job, JobStatus
from schemas.requests import ApiKey
from schemas.runs import RunOwner, RunRecord, RunStatus
from schemas.schedule import Lease, ScheduleEntry, ScheduleEvent
from stores.state.dynamo.items import Value, decoded, encoded, joined, moment, read_item, written

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
TEXTS = st.text(max_size=20)
WHOLE = st.integers(-(2**53), 2**53)
MAPPINGS = st.dictionaries(TEXTS, WHOLE | TEXTS | st.none(), max_size=4)
COUNTS = st.dictionaries(TEXTS, WHOLE, max_size=4)


STRATEGIES = {
    "str": TEXTS,
    "int": WHOLE,
    "datetime": TIMES,
    "Mapping[str, Any]": MAPPINGS,
    "Mapping[str, int]": COUNTS,
    "tuple[str, ...]": st.lists(TEXTS, max_size=3).map(tuple),
    "RunOwner": st.builds(RunOwner, TEXTS, WHOLE, TEXTS),
    "JobStatus": st.sampled_from(JobStatus),
    "RunStatus": st.sampled_from(RunStatus),
    "ScheduleEvent": st.sampled_from(ScheduleEvent),
}


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Records of a kind, with anything in every field."""
    return st.builds(kind, **{field.name: values(str(field.type)) for field in fields(kind)})


def values(annotation: str) -> st.SearchStrategy[Any]:
    kind, _, nothing = annotation.partition(" | ")
    return STRATEGIES[kind] | st.none() if nothing else STRATEGIES[kind]


RECORDS = st.one_of(map(records, (Job, RunRecord, ScheduleEntry, ApiKey, Lease)))
VALUES = st.one_of(TEXTS, WHOLE, st.binary(max_size=9), st.frozensets(TEXTS, min_size=1))


@given(RECORDS)
def test_a_record_comes_back_as_it_was_kept(record: Any) -> None:
    item = read_item({name: written(value) for name, value in encoded(record).items()})
    assert decoded(type(record), item) == record


@given(st.dictionaries(TEXTS, VALUES))
def test_values_come_back_as_they_were_written(values: dict[str, Value]) -> None:
    assert read_item({name: written(value) for name, value in values.items()}) == values


def test_attributes_of_the_table_are_no_part_of_the_record() -> None:
    lease = Lease("a", "b", 1, datetime(2026, 1, 1, tzinfo=UTC))
    assert decoded(Lease, {**encoded(lease), "pk": "lease#a", "sk": "record"}) == lease


@given(st.lists(TEXTS, min_size=1), st.lists(TEXTS, min_size=1))
def test_different_parts_never_make_the_same_key(one: list[str], other: list[str]) -> None:
    assert (joined(*one) == joined(*other)) == (one == other)


@given(TIMES, TIMES)
def test_moments_sort_as_their_times(one: datetime, other: datetime) -> None:
    assert (moment(one) < moment(other)) == (one < other)


@pytest.mark.parametrize("part", ["a#b", "a%23b", "ü", "", "a b"])
def test_a_part_with_a_separator_stays_one_part(part: str) -> None:
    assert joined("lease", part).count("#") == 1
