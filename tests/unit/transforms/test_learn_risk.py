"""Which past requests are learned from, and that the division of the work makes no difference."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Review, Risk
from schemas.errors import UsageError
from schemas.risk_model import RiskModel, encode_model
from tests.dsr_memory import MemoryAudit, MemoryDsr, SetClock
from tests.dsr_requests import RECEIVED, a_request
from tests.risk_models import USUAL, usual_sample
from transforms import risk
from transforms.risk import Lesson, Span, check_tools, learnable, past_requests, reduced, spans
from transforms.risk_stages import LearnForest

LESSON = Lesson(0.01, RECEIVED)
KNOWN = Risk(0.0, features=USUAL)


def learned(parts: Sequence[risk.Sample]) -> RiskModel:
    """As a runner does it that has one accumulator a part."""
    forest = LearnForest(LESSON)
    samples = []
    for part in parts:
        sample = forest.create_accumulator()
        for one in part:
            sample = forest.add_input(sample, one)
        samples.append(sample)
    return forest.extract_output(forest.merge_accumulators(samples))


def test_model_is_the_same_however_the_work_is_divided() -> None:
    rows = usual_sample(400)
    mixed = Random(1).sample(rows, len(rows))
    divided = learned([mixed[:7], [], mixed[7:300], mixed[290:]])
    assert encode_model(divided) == encode_model(learned([rows]))


def test_sample_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk, "MOST", 300)
    assert learned([usual_sample(1000)]).requests == 300
    assert reduced(usual_sample(1000)) == usual_sample(300)


def test_too_few_requests_are_refused_with_their_number() -> None:
    with pytest.raises(UsageError, match="there are 255 past requests"):
        learned([usual_sample(255)])


@given(st.integers(0, 40))
def test_spans_are_the_whole_time_without_a_gap(days: int) -> None:
    until = RECEIVED + timedelta(days=days, hours=3)
    found = spans(RECEIVED, until)
    assert [span.since for span in found] == [RECEIVED, *(span.until for span in found[:-1])]
    assert found[-1].until == until


def test_all_requests_of_a_span_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk, "_PAGE", 3)
    kept = MemoryDsr(MemoryAudit(SetClock()))
    hours = [RECEIVED + timedelta(hours=hour // 2) for hour in range(20)]
    kept.add([a_request(received_at=hour, subjects=(str(n),)) for n, hour in enumerate(hours)], [])
    span = Span(RECEIVED + timedelta(hours=2), RECEIVED + timedelta(hours=7))
    found = [dsr.received_at for dsr in past_requests(kept, span)]
    assert found == sorted(hours[4:14], reverse=True)


def test_request_is_learned_from_under_a_name_of_its_own() -> None:
    dsr = a_request(risk=KNOWN)
    found = learnable(dsr)
    assert found is not None
    assert dsr.id not in found[0]


def test_request_of_before_features_were_kept_is_passed_over() -> None:
    assert learnable(a_request()) is None


@pytest.mark.parametrize("approved", [True, False])
def test_denied_request_is_not_learned_from(approved: bool) -> None:
    review = Review(RECEIVED, "rae", approved)
    assert (learnable(a_request(risk=KNOWN, review=review)) is not None) is approved


def test_missing_tool_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UsageError, match=r"lethe\[risk\]"):
        check_tools()
