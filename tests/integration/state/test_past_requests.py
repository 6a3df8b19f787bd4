"""Past requests are read for learning from every kind of store, with what was known of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.audit import AuditDraft
from schemas.dsr import Risk
from tests.dsr_requests import RECEIVED, a_request
from tests.integration.state.records import AnyState
from tests.risk_models import USUAL
from transforms import risk
from transforms.risk import Span, learnable, past_requests


def test_requests_of_a_span_are_read_page_by_page_with_their_features(
    state: AnyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(risk, "_PAGE", 3)
    hours = [RECEIVED + timedelta(hours=hour // 2) for hour in range(16)]
    for n, at in enumerate(hours):
        dsr = a_request(received_at=at, subjects=(f"s{n}",), risk=Risk(0.5, features=USUAL))
        state.dsr.add([dsr], [AuditDraft("test", "org-1", "dsr.test", f"dsr:{dsr.id}", {})])
    span = Span(RECEIVED + timedelta(hours=1), RECEIVED + timedelta(hours=6))
    found = [*past_requests(state.dsr, span)]
    assert [dsr.received_at for dsr in found] == sorted(hours[2:12], reverse=True)
    assert all(learnable(dsr) is not None for dsr in found)
