"""``lethe deliver`` of files on every engine makes the lake that the direct runner makes.

Records and dead letters are compared one by one; files may differ, as each worker writes its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Lake, Outcome, balanced, deliver, generated
from tests.engines.clusters import engine, flink_cluster, spark_cluster

pytestmark = pytest.mark.engine

COUNT = 8_000


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("inputs")
    return [generated(folder / f"{n}.ndjson", COUNT, seed=n, hostile=0.01) for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def expected(inputs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = tmp_path_factory.mktemp("expected") / "lake"
    assert deliver(lake, *inputs).status == 0
    return Lake.at(lake)


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with flink_cluster(tmp_path_factory.mktemp("flink")) as cluster:
        yield cluster.master


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_cluster(tmp_path_factory.mktemp("spark")) as master:
        yield master


def same(found: Lake, expected: Lake, done: Outcome) -> None:
    """All rows in all columns, all dead letters, and nothing left behind."""
    assert done.status == 0, done.err
    assert balanced(done.report)
    rows, wanted = found.rows(), expected.rows()
    assert rows.keys() == wanted.keys()
    for name, table in wanted.items():
        assert rows[name].equals(table), name
    letters = [{**letter, "time": None} for letter in found.letters()]
    assert letters == [{**letter, "time": None} for letter in expected.letters()]
    assert found.leftovers() == []


def test_prism_delivers_the_same(inputs: list[Path], expected: Lake, tmp_path: Path) -> None:
    engine("prism")
    done = deliver(tmp_path / "lake", *inputs, "--runner", "prism")
    same(Lake.at(tmp_path / "lake"), expected, done)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_flink_delivers_the_same(
    flink: str, inputs: list[Path], expected: Lake, tmp_path: Path, parallelism: int
) -> None:
    where = ("--runner", "flink", "--flink-master", flink)
    done = deliver(tmp_path / "lake", *inputs, *where, workers=parallelism)
    same(Lake.at(tmp_path / "lake"), expected, done)


def test_spark_delivers_the_same(
    spark: str, inputs: list[Path], expected: Lake, tmp_path: Path
) -> None:
    where = ("--runner", "spark", "--spark-master", spark)
    done = deliver(tmp_path / "lake", *inputs, *where, workers=2)
    same(Lake.at(tmp_path / "lake"), expected, done)


def test_a_cluster_that_does_not_answer_is_named(inputs: list[Path], tmp_path: Path) -> None:
    engine("flink")
    where = ("--runner", "flink", "--flink-master", "127.0.0.1:9")
    done = deliver(tmp_path / "lake", *inputs, *where)
    assert (done.status, "no Flink answers at 127.0.0.1:9" in done.err) == (1, True), done.err
    assert Lake.at(tmp_path / "lake").files() == []


def test_a_bad_input_is_named_as_on_the_direct_runner(flink: str, tmp_path: Path) -> None:
    where = ("--runner", "flink", "--flink-master", flink)
    done = deliver(tmp_path / "lake", tmp_path / "nowhere.ndjson", *where)
    assert (done.status, "nowhere.ndjson" in done.err) == (1, True), done.err
