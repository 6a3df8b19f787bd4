"""A forest of plain arrays judges as scikit-learn's does, and what is no forest is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from schemas.forest import LEAF, Tree, forest_of, path_length
from transforms.risk import tree_of

STUMP = Tree([0, LEAF, LEAF], [0.5, 0, 0], [1, LEAF, LEAF], [2, LEAF, LEAF], [3, 2, 1])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(2, 300),
    features=st.integers(1, 5),
    levels=st.sampled_from([1, 3, 10_000]),
    far=st.floats(-1e6, 1e6, allow_nan=False),
)
def test_anomaly_is_what_scikit_learn_says(
    seed: int, count: int, features: int, levels: int, far: float
) -> None:
    """Of points of the sample and of others; with many alike, and with none."""
    drawn = np.random.default_rng(seed)
    points = np.round(drawn.normal(size=(count, features)) * levels) / 7
    sample = min(count, 64)
    grown = IsolationForest(n_estimators=7, max_samples=sample, random_state=seed).fit(points)
    ours = forest_of([tree_of(each.tree_) for each in grown.estimators_], features, sample)
    asked = np.vstack([points[:20], np.full(features, far)])
    assert np.allclose(ours.anomalies(asked), -grown.score_samples(asked), rtol=0, atol=1e-12)


def test_point_that_one_cut_sets_apart_is_the_least_usual() -> None:
    usual, apart = forest_of([STUMP], 1, 3).anomalies(np.asarray([[0.5], [0.6]]))
    assert usual == pytest.approx(2 ** -(2 / path_length(3)))
    assert apart == pytest.approx(2 ** -(1 / path_length(3)))


def test_forest_of_points_alike_finds_nothing_unusual() -> None:
    leaf = Tree([LEAF], [0.0], [LEAF], [LEAF], [256])
    assert forest_of([leaf], 1, 256).anomalies(np.asarray([[9.0]])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"feature": [1, LEAF, LEAF]},
        {"feature": [0, LEAF]},
        {"feature": []},
        {"threshold": [float("nan"), 0, 0]},
        {"left": [0, LEAF, LEAF]},
        {"right": [3, LEAF, LEAF]},
        {"right": [-2, LEAF, LEAF]},
        {"left": [LEAF, LEAF, LEAF]},
        {"samples": [3, 0, 1]},
    ],
)
def test_tree_whose_walks_might_not_end_is_refused(changes: dict[str, list[float]]) -> None:
    broken = msgspec.structs.replace(STUMP, **changes)
    with pytest.raises(ValueError, match="tree"):
        forest_of([broken], 1, 3)


def test_forest_without_trees_is_refused() -> None:
    with pytest.raises(ValueError, match="trees"):
        forest_of([], 1, 256)
