"""Learning from past requests: which are read, which of them are kept, and the forest of those.

The sample is of the requests whose ids have the smallest hashes: as good as drawn by lot, and the
same one however the work is divided, in whatever order it is done, and though a part be read twice.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.access import Reach
from schemas.dsr import Dsr, DsrCursor, DsrQuery
from schemas.errors import UsageError
from schemas.forest import LEAF, Numbers, Tree
from schemas.risk_model import FEATURES, RiskModel, Usual, row_of
from stores.state.dsr_port import DsrStore

FEWEST = 256
"""Requests that something can be learned from."""

MOST = 50_000
"""Requests that are kept to learn from, however many there are."""

_TREES = 100
_SAMPLE = 512
"""Points that each tree is grown from."""

_AT_ONCE = 1000
"""Points that are judged at once, each by all trees."""

_CONTRAST = 0.5
"""So many points of no request are mixed among those of requests."""

_SEED = 20_081_215
_PAGE = 200
_SPAN = timedelta(days=7)

Row = tuple[float, ...]
Sample = list[tuple[str, Row]]
"""Rows of features, each behind the hash of its request."""


@dataclass(frozen=True)
class Span:
    """From a time, up to another one."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Lesson:
    """What is to be learned: which ``share`` of requests like the past ones is to be unusual."""

    share: float
    now: datetime


def spans(since: datetime, until: datetime) -> list[Span]:
    """A time in pieces of a week, each for a worker to read."""
    found = []
    while since < until:
        end = min(since + _SPAN, until)
        found.append(Span(since, end))
        since = end
    return found


def past_requests(requests: DsrStore, span: Span) -> Iterator[Dsr]:
    """All requests that were received then, a page at a time."""
    after, everywhere = DsrCursor(span.until, ""), Reach(None)
    while True:
        page = requests.find(DsrQuery(limit=_PAGE, after=after), everywhere)
        for dsr in page:
            if dsr.received_at < span.since:
                return
            yield dsr
        if len(page) < _PAGE:
            return
        after = DsrCursor(page[-1].received_at, page[-1].id)


def learnable(dsr: Dsr) -> tuple[str, Row] | None:
    """What is learned of a request: nothing of one that was denied, or whose features are unknown.

    These are unknown of requests that came before features were kept.
    """
    row = row_of(dsr.risk.features)
    was_denied = dsr.review is not None and not dsr.review.approved
    return None if row is None or was_denied else (_lot(dsr.id), row)


def reduced(sample: Sample) -> Sample:
    """Not more than ``MOST`` of these, by lot; each request once."""
    return heapq.nsmallest(MOST, {lot: (lot, row) for lot, row in sample}.values())


def learn(sample: Sample, lesson: Lesson) -> RiskModel:
    """What these requests teach. Raises ``UsageError`` if they are too few, or of no tools."""
    rows = [row for _, row in reduced(sample)]
    if len(rows) < FEWEST:
        raise UsageError(
            f"there are {len(rows)} past requests to learn from, and {FEWEST} are needed: "
            "wait until there are as many, or look back further with --days"
        )
    return _learned(rows, lesson)


def check_tools() -> None:
    """Raises ``UsageError`` if scikit-learn is missing, saying how to get it."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise UsageError(
            "learning needs scikit-learn, which is missing: pip install 'lethe[risk]'"
        ) from None


def _learned(rows: Sequence[Row], lesson: Lesson) -> RiskModel:
    import msgspec
    import numpy as np
    import sklearn
    from sklearn.ensemble import IsolationForest

    points = np.asarray(rows, np.float64)
    mixed = np.vstack([points, _contrast(points)])
    sample = min(_SAMPLE, len(mixed))
    grown = IsolationForest(n_estimators=_TREES, max_samples=sample, random_state=_SEED)
    grown.fit(mixed)
    model = RiskModel(
        features=FEATURES,
        learned_at=lesson.now.astimezone(UTC).isoformat(timespec="seconds"),
        learned_with={"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        requests=len(rows),
        share=lesson.share,
        cut=1.0,
        sample=sample,
        usual=tuple(Usual(*map(float, np.percentile(one, (5, 50, 95)))) for one in points.T),
        trees=tuple(tree_of(each.tree_) for each in grown.estimators_),
    )
    # Of our own reckoning, so that a request just like one of these is never above by a rounding.
    parts = np.array_split(points, len(points) // _AT_ONCE + 1)
    anomalies = np.concatenate([model.forest.anomalies(part) for part in parts])
    cut = np.quantile(anomalies, 1 - lesson.share, method="higher")
    return msgspec.structs.replace(model, cut=float(cut))


def _contrast(points: Numbers) -> Numbers:
    """Points drawn evenly from all around these.

    A forest cuts where its points are. Of requests alone it would take one beyond them all for one
    at their edge, and would not look at a feature that they all have alike.
    """
    import numpy as np

    low, high = np.percentile(points, (1, 99), axis=0)
    width = np.maximum(high - low, 1.0)
    count = int(len(points) * _CONTRAST)
    drawn = np.random.default_rng(_SEED)
    found: Numbers = drawn.uniform(low - width, high + width, (count, points.shape[1]))
    return found


def tree_of(grown: Any) -> Tree:
    """A tree of scikit-learn's as plain numbers."""
    leaf = grown.children_left == LEAF
    feature, threshold = grown.feature.copy(), grown.threshold.copy()
    feature[leaf], threshold[leaf] = LEAF, 0.0
    return Tree(
        feature=feature.tolist(),
        threshold=threshold.tolist(),
        left=grown.children_left.tolist(),
        right=grown.children_right.tolist(),
        samples=grown.n_node_samples.tolist(),
    )


def _lot(request_id: str) -> str:
    return hashlib.blake2b(request_id.encode(), digest_size=16).hexdigest()
