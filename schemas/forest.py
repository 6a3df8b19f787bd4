"""An isolation forest as plain arrays: how soon random cuts set a point apart from the others.

F. T. Liu, K. M. Ting, Z.-H. Zhou, *Isolation Forest*, ICDM 2008. A point that few cuts set apart is
unlike the rest: of one that is unlike all others the anomaly is near 1, of an ordinary one 0.5 or
less. Growing a forest takes scikit-learn; judging by one takes the few lines below, and gives what
``-IsolationForest.score_samples`` gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

LEAF = -1
"""What a leaf has in the place of a feature and of children."""

_EULER = 0.5772156649015329

Numbers = npt.NDArray[np.float64]


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nodes, the root first, a child after its parent; what is up to ``threshold`` goes left.

    ``samples`` is how many points the tree was grown from came to a node.
    """

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    samples: list[int]


@dataclass(frozen=True)
class Forest:
    """All trees in one row of nodes. A leaf leads to itself, so that every walk is as long."""

    roots: npt.NDArray[Any]
    feature: npt.NDArray[Any]
    threshold: Numbers
    left: npt.NDArray[Any]
    right: npt.NDArray[Any]
    length: Numbers
    steps: int
    usual_length: float

    def anomalies(self, points: Numbers) -> Numbers:
        """How unlike the rest each point is, from 0 to 1; a point is a row, a feature a column."""
        told = points.astype(np.float32)  # What scikit-learn compares.
        at = np.broadcast_to(self.roots, (len(points), len(self.roots)))
        point = np.arange(len(points))[:, None]
        for _ in range(self.steps):
            goes_left = told[point, self.feature[at]] <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])
        found: Numbers = np.exp2(-self.length[at].mean(axis=1) / self.usual_length)
        return found


def forest_of(trees: Sequence[Tree], features: int, sample: int) -> Forest:
    """The forest of these trees, each grown from ``sample`` points of so many features.

    Raises ``ValueError`` for what is no forest: every walk ends, and stays within its tree.
    """
    if not trees or sample < 2:
        raise ValueError("a forest has trees, each of two points or more")
    for tree in trees:
        _check(tree, features)
    starts = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    depths = [_depths(tree) for tree in trees]
    return Forest(
        roots=starts[:-1],
        feature=np.concatenate([np.maximum(tree.feature, 0) for tree in trees]),
        threshold=np.concatenate([np.asarray(tree.threshold, np.float64) for tree in trees]),
        left=np.concatenate([_leads(tree.left) + start for tree, start in _placed(trees, starts)]),
        right=np.concatenate(
            [_leads(tree.right) + start for tree, start in _placed(trees, starts)]
        ),
        length=np.concatenate([*map(_lengths, trees, depths)]),
        steps=max(map(max, depths)),
        usual_length=path_length(sample),
    )


def path_length(points: int) -> float:
    """How many cuts set one of so many points apart, on average: c(n) of the paper."""
    if points <= 2:
        return float(points == 2)
    return 2 * (math.log(points - 1) + _EULER) - 2 * (points - 1) / points


def _placed(trees: Sequence[Tree], starts: npt.NDArray[Any]) -> Iterator[tuple[Tree, int]]:
    return zip(trees, starts[:-1].tolist(), strict=True)


def _check(tree: Tree, features: int) -> None:
    columns = (tree.feature, tree.threshold, tree.left, tree.right, tree.samples)
    if not tree.feature or any(len(column) != len(tree.feature) for column in columns):
        raise ValueError("a tree has nodes, and each of them all values")
    for node, (feature, threshold, *children, samples) in enumerate(zip(*columns, strict=True)):
        is_leaf = feature == LEAF and children == [LEAF, LEAF]
        leads_on = 0 <= feature < features and all(
            node < child < len(tree.feature) for child in children
        )
        if not (is_leaf or leads_on) or not math.isfinite(threshold) or samples < 1:
            raise ValueError(f"node {node} of a tree is none")


def _leads(children: Sequence[int]) -> npt.NDArray[Any]:
    """Where each node leads to: a leaf to itself."""
    leads = np.asarray(children, np.int64)
    return np.where(leads == LEAF, np.arange(len(leads)), leads)


def _depths(tree: Tree) -> list[int]:
    depths = [0] * len(tree.left)
    for node, children in enumerate(zip(tree.left, tree.right, strict=True)):
        for child in children:
            if child != LEAF:
                depths[child] = depths[node] + 1
    return depths


def _lengths(tree: Tree, depths: Sequence[int]) -> Numbers:
    """The cuts down to each node, and those that would set apart the points left there."""
    further = [path_length(samples) for samples in tree.samples]
    return np.asarray(depths, np.float64) + np.asarray(further)
