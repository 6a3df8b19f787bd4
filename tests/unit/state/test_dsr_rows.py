"""Whatever is known of a request is kept, in both kinds of stores."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Dsr, Forwarding, Review, Risk
from stores.state.dsr_rows import DsrRow, dsr_of, row_of
from stores.state.dsr_tables import DSRS
from stores.state.dynamo.items import decoded, encoded, read_item, written

st.register_type_strategy(datetime, st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)))
TEXTS = st.text(max_size=9)
FEATURES = st.dictionaries(st.sampled_from(["hour", "weekday"]), st.floats(0, 9))
RISKS = st.builds(Risk, st.floats(0, 1), st.lists(TEXTS, max_size=2).map(tuple), FEATURES)
COUNTS = st.integers(0, 2**31)
FORWARDED = st.builds(Forwarding, attempts=COUNTS, results_count=st.none() | COUNTS)
REQUESTS = st.builds(
    Dsr, risk=RISKS, forwarding=FORWARDED, review=st.none() | st.builds(Review), version=COUNTS
)


@given(REQUESTS)
def test_a_row_is_the_request_that_it_was_made_of(dsr: Dsr) -> None:
    assert dsr_of(row_of(dsr)) == dsr


@given(REQUESTS)
def test_an_item_is_the_request_that_it_was_made_of(dsr: Dsr) -> None:
    item = {name: written(value) for name, value in encoded(row_of(dsr)).items()}
    assert dsr_of(decoded(DsrRow, read_item(item))) == dsr


def test_a_table_has_a_column_for_each_field() -> None:
    names: list[Any] = [field.name for field in fields(DsrRow)]
    assert {*DSRS.c.keys()} == {*names}
