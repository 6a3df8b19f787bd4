"""Packaging: the version ranges Lethe supports, its extras and the ``lethe`` command."""

from setuptools import find_packages, setup

ROOMS = ["schemas", "transforms", "stores", "dsr", "beam_pipelines", "runners", "config", "service"]

INSTALL_REQUIRES = [
    "alembic>=1.20,<2",
    "apache-beam>=2.77,<2.78",
    "backports.zstd>=1.0,<2",
    "boto3>=1.44,<2",
    "cachetools>=8,<9",
    "cronsim>=2.8,<3",
    "cryptography>=48,<51",
    "fastavro[snappy,zstandard]>=1.13,<2",
    "idna>=3.10,<4",
    "msgspec>=0.22,<0.23",
    "numpy>=2,<2.5",
    "pyarrow>=25,<26",
    "pydantic-settings>=2.16,<3",
    "pydantic>=2.14,<3",
    "pyrage>=1.4,<2",
    "pyyaml>=6,<7",
    "rich>=15,<16",
    "sqlalchemy>=2.1,<2.2",
    "structlog>=26,<27",
    "tenacity>=9.2,<10",
    "typer>=0.29,<0.30",
    "tzdata>=2025.1",
    "urllib3>=2.5,<3",
    "xxhash>=3.6,<5",
]

POSTGRES_REQUIRES = ["psycopg[binary]>=3.3,<4"]

RISK_REQUIRES = ["scikit-learn>=1.7,<2"]

TRACING_REQUIRES = [
    "opentelemetry-exporter-otlp-proto-http>=1.45,<2",
    "opentelemetry-sdk>=1.45,<2",
]

SERVICE_REQUIRES = [
    "flask-openapi-swagger>=5.34,<6",
    "flask-openapi>=5,<6",
    "flask-sock>=0.7,<0.8",
    "flask>=3.1,<3.2",
    "graphql-core>=3.3,<3.4",
    "gunicorn>=27,<28",
    "prometheus-client>=0.26,<0.27",
    "pyjwt[crypto]>=2.15,<3",
    "strawberry-graphql>=0.341.2,<0.342",
]

TEST_REQUIRES = [
    *POSTGRES_REQUIRES,
    *RISK_REQUIRES,
    *SERVICE_REQUIRES,
    *TRACING_REQUIRES,
    "avro>=1.12,<2",
    "duckdb>=1.4,<3",
    "hypothesis>=6.140,<7",
    "import-linter>=2.5,<3",
    "jsonschema[format]>=4.23,<5",
    "moto[server]>=5.2,<6",
    "mypy>=1.18,<3",
    "openapi-spec-validator>=0.9,<0.10",
    "pytest-xdist>=3.8,<4",
    "pytest>=9,<10",
    "ruff>=0.14,<1",
    "schemathesis>=4.32,<5",
    "sqlglot>=27",
    "types-PyYAML>=6,<7",
    "types-cachetools>=7,<8",
    "websockets>=17,<18",
]

setup(
    name="lethe",
    version="0.1.0",
    description="Change records into a data lake that can forget a person",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=[name for room in ROOMS for name in (room, f"{room}.*")]),
    package_data={
        "schemas": ["records/*.avsc", "py.typed"],
        "config": ["*.toml"],
        "runners": ["engines/jars/*.lock"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "postgres": POSTGRES_REQUIRES,
        "risk": RISK_REQUIRES,
        "service": SERVICE_REQUIRES,
        "test": TEST_REQUIRES,
        "tracing": TRACING_REQUIRES,
    },
    entry_points={"console_scripts": ["lethe = runners.cli:main"]},
)
