"""The deployment files agree with each other, and with what they deploy."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from config.service import ServiceSection
from config.settings import Settings, load_settings
from runners.cli import build_app
from runners.engines.versions import FLINK, SPARK
from tests.unit.test_docs import anchors

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(DEPLOY.rglob("*.yaml"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
RUNBOOK = (DEPLOY / "README.md").read_text("utf-8")
ENGINES = ("flink", "spark")
THREADS_END_WITHIN = 5
"""Seconds, as the settings of gunicorn have it, which cannot be imported twice."""


def of_setup(name: str) -> Any:
    """The value of a variable or argument in ``setup.py``."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text("utf-8"))):
        names = getattr(node, "targets", [])
        if getattr(node, "arg", "") == name or any(getattr(t, "id", "") == name for t in names):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    raise AssertionError(name)


def objects(under: Path = DEPLOY) -> list[dict[str, Any]]:
    texts = [path.read_text("utf-8") for path in sorted(under.rglob("*.yaml"))]
    return [found for text in texts for found in yaml.safe_load_all(text)]


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """All mappings in a manifest, at any depth."""
    if isinstance(node, dict):
        yield node
    for inner in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from parts(inner)


def containers(under: Path = DEPLOY) -> list[dict[str, Any]]:
    return [part for part in parts(objects(under)) if "image" in part and "name" in part]


def own_containers(under: Path = DEPLOY) -> list[dict[str, Any]]:
    return [one for one in containers(under) if "/lethe" in one["image"]]


def named(kind: str, under: Path = DEPLOY) -> list[str]:
    return [found["metadata"]["name"] for found in objects(under) if found["kind"] == kind]


def option(name: str, under: Path) -> str:
    """The value that the delivery in a folder gives to an option."""
    (words,) = [one["args"] for one in own_containers(under) if one["args"][0] == "deliver"]
    return str(words[words.index(name) + 1])


def parse(words: list[str]) -> None:
    """Have the command line read a command's options, without running it."""
    command: Any = typer.main.get_command(build_app(words[0]))
    context = command.make_context("lethe", [*words])
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, [*words], parent=context)


def commands_in(text: str) -> list[list[str]]:
    lines = re.findall(r"(?:^|-- |&& |RUN |`)lethe ([^&`\n]+)", text, re.MULTILINE)
    return [line.split() for line in lines]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_manifest_holds_named_objects_of_one_namespace(path: Path) -> None:
    found = list(yaml.safe_load_all(path.read_text("utf-8")))
    assert found
    for one in found:
        assert {"apiVersion", "kind", "metadata"} <= one.keys()
        place = one["metadata"].get("namespace", one["metadata"]["name"])
        assert place == "lethe"


@pytest.mark.parametrize(
    "words",
    [*(one["args"] for one in own_containers()), *commands_in(DOCKERFILE), *commands_in(RUNBOOK)],
    ids=" ".join,
)
def test_command_is_one_that_lethe_has(words: list[str]) -> None:
    parse(words)


def test_a_command_that_lethe_does_not_have_is_found() -> None:
    with pytest.raises(typer.TyperException):
        parse(["deliver", "s3://b/", "--lake", "lake", "--flink", "host:8081"])


def test_all_images_of_lethe_are_one_version_that_is_built() -> None:
    images = {one["image"].rpartition("/")[2] for one in own_containers()}
    version = of_setup("version")
    assert images == {f"lethe:{version}", f"lethe-launcher:{version}"}
    assert {"lethe", "launcher"} <= set(re.findall(r"^FROM .+ AS (\w+)", DOCKERFILE, re.MULTILINE))


@pytest.mark.parametrize("engine", [FLINK, SPARK], ids=lambda engine: engine.name)
def test_engine_is_of_the_version_that_the_job_server_is_made_for(engine: Any) -> None:
    images = {
        part["image"]
        for part in parts(objects(DEPLOY / engine.name))
        if part.get("image", "").startswith(f"{engine.name}:")
    }
    assert {image.partition(":")[2].partition("-")[0] for image in images} == {engine.version}


def test_flink_operator_is_told_the_same_version_as_the_image_has() -> None:
    (spec,) = [one["spec"] for one in objects() if one["kind"] == "FlinkDeployment"]
    assert spec["flinkVersion"] == "v" + "_".join(FLINK.version.split(".")[:2])
    plugins = [part["value"] for part in parts(spec) if part.get("name", "").endswith("_PLUGINS")]
    assert plugins == [f"flink-s3-fs-hadoop-{FLINK.version}.jar"]


@pytest.mark.parametrize("engine", ENGINES)
def test_delivery_names_the_pool_that_stands_beside_the_workers(engine: str) -> None:
    folder = DEPLOY / engine
    (pool,) = [one for one in own_containers(folder) if one["name"] == "worker-pool"]
    port = pool["args"][pool["args"].index("--port") + 1]
    assert option("--worker-pool", folder) == f"127.0.0.1:{port}"
    assert f'("127.0.0.1", {port})' in pool["readinessProbe"]["exec"]["command"][-1]


def test_delivery_names_the_service_that_the_operator_makes_for_flink() -> None:
    (cluster,) = named("FlinkDeployment")
    assert option("--flink-master", DEPLOY / "flink") == f"{cluster}-rest:8081"


def test_delivery_and_workers_name_sparks_master_as_its_service() -> None:
    folder = DEPLOY / "spark"
    (service,) = [one for one in objects(folder) if one["kind"] == "Service"]
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    url = f"spark://{service['metadata']['name']}:{ports['spark']}"
    (master, worker) = [one["args"] for one in containers(folder) if "command" in one]
    assert option("--spark-master", folder) == worker[-1] == url
    assert master[master.index("--port") + 1] == str(ports["spark"])
    assert master[master.index("--webui-port") + 1] == str(ports["pages"])


def service_pod() -> dict[str, Any]:
    (found,) = [one for one in objects(DEPLOY / "service") if one["kind"] == "Deployment"]
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_of_the_service_ask_what_is_told_of_its_health(probe: str) -> None:
    (container,) = service_pod()["containers"]
    path = container[probe]["httpGet"]["path"]
    assert path == ("/readyz" if probe == "readinessProbe" else "/healthz")
    assert f"`GET {path}`" in (ROOT / "docs" / "service.md").read_text("utf-8")


def test_service_listens_where_it_is_asked() -> None:
    (container,) = service_pod()["containers"]
    (port,) = container["ports"]
    assert container["args"][container["args"].index("--port") + 1] == str(port["containerPort"])
    asked = [part["port"] for part in parts(container) if "path" in part and "port" in part]
    backends = [
        part["port"]["name"] for part in parts(objects()) if isinstance(part.get("port"), dict)
    ]
    assert {*asked, *backends} == {port["name"]}


def test_service_is_given_the_time_that_it_takes_to_end() -> None:
    takes = ServiceSection().shutdown_seconds + THREADS_END_WITHIN
    assert service_pod()["terminationGracePeriodSeconds"] > takes


def test_service_of_the_cluster_starts_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = service_pod()["containers"]
    for one in container["env"]:
        monkeypatch.setenv(one["name"], one["value"])
    monkeypatch.setenv("LETHE_SERVICE__HOST", "0.0.0.0")
    load_settings().service.require_keys()


def test_ingress_takes_every_body_that_the_service_takes() -> None:
    (ingress,) = [one for one in objects() if one["kind"] == "Ingress"]
    most = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(most.removesuffix("m")) * 1024**2 >= ServiceSection().limits.body_bytes


def test_services_and_workloads_select_pods_that_there_are() -> None:
    labels = [part["labels"] for part in parts(objects()) if "labels" in part]
    chosen = [part["selector"] for part in parts(objects()) if "selector" in part]
    assert chosen
    for selector in chosen:
        assert selector.get("matchLabels", selector) in labels


def test_parallelism_is_what_flink_has_slots_for() -> None:
    (spec,) = [one["spec"] for one in objects() if one["kind"] == "FlinkDeployment"]
    slots = int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert option("--workers", DEPLOY / "flink") == str(slots * spec["taskManager"]["replicas"])


def test_parallelism_is_what_sparks_workers_have_cores_for() -> None:
    (workers,) = [one["spec"] for one in objects() if one["kind"] == "StatefulSet"]
    words = next(part["args"] for part in parts(workers) if "--cores" in part.get("args", []))
    cores = int(words[words.index("--cores") + 1]) * workers["replicas"]
    assert option("--workers", DEPLOY / "spark") == str(cores)


def test_pods_run_under_accounts_that_there_are() -> None:
    fields = ("serviceAccountName", "serviceAccount")
    used = {part[field] for part in parts(objects()) for field in fields if field in part}
    assert used == set(named("ServiceAccount"))


@pytest.mark.parametrize("container", own_containers(), ids=lambda one: one["name"])
def test_lethe_runs_without_rights_it_does_not_need(container: dict[str, Any]) -> None:
    rights = container["securityContext"]
    assert rights["runAsNonRoot"]
    assert rights["readOnlyRootFilesystem"]
    assert not rights["allowPrivilegeEscalation"]
    assert f"--uid {rights['runAsUser']}" in DOCKERFILE
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]


def variables() -> set[str]:
    names = {part["name"] for part in parts(objects()) if "name" in part}
    texts = re.findall(r"LETHE_\w+", DOCKERFILE + RUNBOOK)
    return {name for name in (*names, *texts) if name.startswith("LETHE_")}


@pytest.mark.parametrize("variable", sorted(variables()))
def test_variable_is_a_setting(variable: str) -> None:
    fields: Any = Settings.model_fields
    for name in variable.removeprefix("LETHE_").lower().split("__"):
        assert name in fields
        fields = getattr(fields[name].annotation, "model_fields", {})


def test_wheel_has_every_file_that_the_rooms_have() -> None:
    rooms = [ROOT / room for room in of_setup("ROOMS")]
    inner = {path for room in rooms for path in room.rglob("*") if path.is_file()}
    data = {path for path in inner if path.suffix not in {".py", ".pyc"}}
    patterns = of_setup("package_data").items()
    taken = {
        path for room, globs in patterns for glob in globs for path in ROOT.glob(f"{room}/{glob}")
    }
    assert data
    assert data <= taken


def test_image_is_built_from_every_room_and_ignores_none() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert copied == set(of_setup("ROOMS"))
    let_in = set(re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M))
    assert copied | {"setup.py", "requirements.txt"} <= let_in
    assert all((ROOT / name).exists() for name in let_in)


def test_image_runs_as_a_user_and_on_a_supported_python() -> None:
    users = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)
    assert users[-1] == "10001"
    assert re.search(r"^FROM python:3\.1[123]\.\d+-slim-bookworm ", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_runbook_applies_every_manifest(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert re.search(rf"kubectl apply .*(?:-f {name}|-f {path.parent.relative_to(ROOT)}/)", RUNBOOK)


def test_runbook_speaks_of_objects_that_there_are() -> None:
    kinds = {"deployment": "Deployment", "cronjob": "CronJob", "flinkdeployment": "FlinkDeployment"}
    spoken = re.findall(r"\b(deployment|cronjob|flinkdeployment)/([\w-]+)", RUNBOOK)
    assert spoken
    for kind, name in spoken:
        assert name in named(kinds[kind])


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)\s]+)\)", RUNBOOK))
def test_link_of_the_runbook_leads_somewhere(target: str) -> None:
    if "://" in target:
        return
    path, _, anchor = target.partition("#")
    linked = (DEPLOY / path).resolve() if path else DEPLOY / "README.md"
    assert linked.exists()
    assert not anchor or anchor in anchors(linked)
