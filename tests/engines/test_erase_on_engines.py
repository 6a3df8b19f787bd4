"""``lethe erase`` on every engine takes the rows out that the direct runner takes out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.harness import Lake, deliver, generated, lethe
from tests.engines.clusters import engine, flink_cluster, spark_cluster

pytestmark = pytest.mark.engine

SECRETS = {
    "LETHE_AUDIT_KEYS": "1f" * 32,
    "LETHE_DSR_SEAL_KEYS": "t" * 32,
    "LETHE_DSR_SUBJECT_KEY": "s" * 32,
}
USERS = 20


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("erased")
    changes = generated(folder / "changes.ndjson", 5_000, hostile=0.01)
    assert deliver(folder / "lake", changes).status == 0
    users = Lake.at(folder / "lake").rows()["sale"].column("user_id").unique()[:USERS]
    lines = [f"controller_customer_id={user}\n" for user in users.to_pylist()]
    (folder / "subjects").write_text("".join(lines))
    return folder


def erased(folder: Path, name: str, *options: object) -> tuple[list[str], int]:
    """The changes that are left in a copy of the lake, and how many dead letters."""
    copy = folder / name
    shutil.copytree(folder / "lake", copy)
    asked = ("--lake", copy, "--subjects", folder / "subjects", "--max-match-share", 1)
    done = lethe("erase", *asked, *options, env=SECRETS)
    assert done.status == 0, done.err
    return Lake.at(copy).changes(), len(Lake.at(copy).letters())


@pytest.fixture(scope="module")
def expected(lake: Path) -> tuple[list[str], int]:
    left = erased(lake, "direct", "--workers", 1)
    assert len(left[0]) < len(Lake.at(lake / "lake").changes())
    return left


def test_prism_erases_the_same(lake: Path, expected: tuple[list[str], int]) -> None:
    engine("prism")
    assert erased(lake, "prism", "--runner", "prism") == expected


def test_flink_erases_the_same(lake: Path, expected: tuple[list[str], int], tmp_path: Path) -> None:
    with flink_cluster(tmp_path) as cluster:
        left = erased(lake, "flink", "--runner", "flink", "--flink-master", cluster.master)
    assert left == expected


def test_spark_erases_the_same(lake: Path, expected: tuple[list[str], int], tmp_path: Path) -> None:
    with spark_cluster(tmp_path) as master:
        left = erased(lake, "spark", "--runner", "spark", "--spark-master", master)
    assert left == expected
