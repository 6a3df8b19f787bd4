"""Which versions belong together.

Flink and Spark are what Beam's runners are made for. Their job servers have Beam's own version
where Maven Central has such a jar; where it has none, one is put together from the runner's
library, of the newest version whose dependencies Maven Central has in full. Beam's protocol
between job server and workers is stable over these versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PRISM_PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
FOUND_BEAM = version("apache-beam")
LIBRARY_BEAM = "2.62.0"


@dataclass(frozen=True)
class ClusterEngine:
    """An engine whose distribution is a Python package, and its Beam job server.

    ``subfolder`` is where the distribution lies in the package's archive, ``main`` the class of
    the job server.
    """

    name: str
    version: str
    package: str
    subfolder: str
    artifact: str
    main: str

    @property
    def lock(self) -> Path:
        """The jars, with SHA-256, of which a job server of ``LIBRARY_BEAM`` is put together."""
        return Path(__file__).parent / "jars" / f"{self.name}-job-server.lock"

    @property
    def jar(self) -> str:
        """The path in a Maven repository of the job server of the Beam that is in use."""
        name = f"{self.artifact}-{FOUND_BEAM}.jar"
        return f"org/apache/beam/{self.artifact}/{FOUND_BEAM}/{name}"


FLINK = ClusterEngine(
    name="flink",
    version="1.19.3",
    package="apache-flink-libraries",
    subfolder="deps",
    artifact="beam-runners-flink-1.19-job-server",
    main="org.apache.beam.runners.flink.FlinkJobServerDriver",
)
SPARK = ClusterEngine(
    name="spark",
    version="3.5.9",
    package="pyspark",
    subfolder="deps",
    artifact="beam-runners-spark-3-job-server",
    main="org.apache.beam.runners.spark.SparkJobServerDriver",
)
