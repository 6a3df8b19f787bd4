"""Marked contacts through a real service: they are in the files of their jobs, and nowhere else.

The contacts are good and bad, the API fails by repeating what it was sent, and clients put
addresses wherever a request has room for one. Then all that was logged, answered, counted, named
or kept is searched for the marks.
"""

from __future__ import annotations

import hashlib
import json
import socket
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.websocket_clients import talking
from tests.service_process import Answer, Service, running_service
from tests.waiting import wait_until

EMAIL = "canary.ana@leak.example"
PHONE = "+4915199887766"
CARD = "4556737586899855"
NUMBER = "078-05-1120"
NAME = "Zyxwvut Canary-Leak"
MARKS = tuple(mark.lower().encode() for mark in ("canary", "leak.example", PHONE[1:], CARD, NUMBER))

PATH = "/v1/enrichment"


def contact(number: int, mode: str, **more: Any) -> dict[str, Any]:
    """A contact of whom the API makes what ``mode`` says."""
    return {
        "id": f"canary-{number}", "mode": mode, "email": EMAIL, "phone": PHONE, "name": NAME,
        "card": CARD, "social": NUMBER, **more,
    }  # fmt: skip


GOOD = [contact(number, "enrich") for number in range(3)]
BAD: list[Any] = [
    {"email": EMAIL, "name": NAME},
    {"id": EMAIL * 20, "name": NAME},
    contact(10, "enrich", email=f"{EMAIL} and {EMAIL}"),
    contact(11, "enrich", phone=[PHONE]),
    contact(11, "enrich", **{EMAIL: {NAME: CARD}}),
]


class EchoingApi(BaseHTTPRequestHandler):
    """An enrichment API that repeats what it is sent in whatever it does wrong."""

    protocol_version = "HTTP/1.1"
    calls: Counter[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        contacts = json.loads(body)["contacts"]
        mode = str(contacts[0].get("mode"))
        self.calls[mode] += 1
        if mode == "fail" and self.calls[mode] > 2:
            mode = "enrich"
        results = [{"id": each["id"], "segment": "x"} for each in contacts]
        status = {"fail": 500, "refuse": 422, "misused": 401}.get(mode, 200)
        told = {
            "enrich": json.dumps({"results": results}).encode(),
            "unknown": json.dumps({"results": [{"id": EMAIL, "error": NAME}]}).encode(),
        }
        self._answer(status, told.get(mode, body))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status, NAME)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Error", f"{EMAIL} {PHONE}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: this is not what is looked at."""


@contextmanager
def echoing_api() -> Iterator[str]:
    handler = type("Handler", (EchoingApi,), {"calls": Counter()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Scene:
    """What happened, and what was seen of it from outside."""

    service: Service
    folder: Path
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusals: list[Answer] = field(default_factory=list)
    spoken: list[Any] = field(default_factory=list)
    metrics: bytes = b""
    arguments: set[bytes] = field(default_factory=set)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("personal")
    temporary = folder / "tmp"
    temporary.mkdir()
    with echoing_api() as api:
        env = {
            "TMPDIR": str(temporary),
            "LETHE_LOG_LEVEL": "DEBUG",
            "LETHE_SERVICE__ENRICHMENT__API": api,
            "LETHE_SERVICE__ENRICHMENT__PATIENCE_SECONDS": "3",
            "LETHE_SERVICE__ENRICHMENT__MAX_RUNNING": "8",
            "LETHE_SERVICE__ENRICHMENT__MAX_ATTEMPTS": "1",
        }
        with running_service(folder, "--workers", 1, env=env) as service:
            made = Scene(service, folder)
            with processes_watched(made):
                play(made)
            yield made


def play(scene: Scene) -> None:
    service = scene.service
    token, auditor = service.token("operator"), service.token("admin")
    jobs = {mode: submitted(service, token, mode) for mode in MODES}
    jobs["upload"] = upload(service, token)
    scene.spoken += conversation(service, token, jobs["enrich"])
    scene.refusals += [*refusals(service, token), *subject_requests(service)]
    raw(service, f"{NAME} {EMAIL}\r\n\r\n".encode())
    raw(service, f"GET /{EMAIL} HTTP/1.1\r\nHost: {EMAIL}\r\n{EMAIL}\r\n\r\n".encode())
    for name, job in jobs.items():
        scene.ended[name] = wait_for_end(scene, token, job)
    scene.refusals += [service.get(f"{PATH}/{job}/output", token=token) for job in jobs.values()]
    scene.metrics = service.get("/metrics", token=auditor).body


MODES = ("enrich", "fail", "refuse", "garbage", "unknown", "misused")


def submitted(service: Service, token: str, mode: str) -> str:
    contacts = [*GOOD, *BAD] if mode == "enrich" else [contact(n, mode) for n in range(20, 22)]
    answer = service.post(PATH, {"contacts": contacts, "batchSize": 1}, token=token)
    assert answer.status == 202, answer.body
    return str(answer.json["requestId"])


def upload(service: Service, token: str) -> str:
    content = (
        f"id;E-mail;{EMAIL}\n1;{EMAIL};x\n2;{EMAIL};{NAME};{CARD};too many\n3;nobody {NAME};y\n"
        f'4;"{EMAIL}\n'
    ).encode() + b"5;canary\xff;z\n"
    about = {
        "contentType": "text/csv",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "fileName": f"{NAME} {EMAIL}.csv",
    }
    upload = service.post("/v1/uploads", about, token=token).json
    assert service.ask("PUT", upload["uploadUrl"], content).status == 204
    body = {"inputFileKey": upload["inputFileKey"], "mapping": {"E-mail": "email"}}
    return str(service.post(PATH, body, token=token).json["requestId"])


def conversation(service: Service, token: str, job: str) -> list[Any]:
    """What a client is told who says wrong things before and after watching its job."""
    heard: list[Any] = []
    with suppress(Exception), talking(service) as talker:
        heard.append(talker.ask("auth", action="authenticate", token=f"{EMAIL} {NAME}"))
    with talking(service, token) as talker:
        heard.append(talker.subscribe(f"job:{EMAIL}"))
        heard.append(talker.ask(EMAIL, action=NAME, message=CARD))
        heard.append(talker.ask("message", action=EMAIL, **{EMAIL: NAME}))
        heard.append(talker.subscribe(f"job:{job}"))
        talker.socket.send(f"no JSON but {EMAIL}")
        heard.append(talker.hear())
    return heard


def refusals(service: Service, token: str) -> Iterator[Answer]:
    """Requests with addresses in every place there is."""
    whole = {"contacts": GOOD, "force": True}
    yield service.post(PATH, f'{{"contacts": [{{"id": "{EMAIL}"'.encode(), token=token,
                       headers={"Content-Type": "application/json"})  # fmt: skip
    yield service.post(PATH, f"email={EMAIL}".encode(), token=token)
    for body in (
        {"contacts": GOOD, EMAIL: NAME}, {"contacts": EMAIL}, {"contacts": [EMAIL, NAME]},
        {"contacts": GOOD, "outputFormat": EMAIL}, {"contacts": GOOD, "mapping": {EMAIL: [NAME]}},
        {"contacts": GOOD, "mapping": {"a": EMAIL, "b": EMAIL}}, {"inputFileKey": EMAIL},
        {"contacts": GOOD, "batchSize": PHONE},
    ):  # fmt: skip
        yield service.post(PATH, body, token=token)
        yield service.post(f"{PATH}:bulk", {"items": [body], "atomic": True}, token=token)
    for place in (f"{PATH}/{EMAIL}", f"{PATH}?{EMAIL}=1", f"{PATH}?cursor={EMAIL}", f"/{EMAIL}",
                  f"{PATH}?status={EMAIL}", f"/v1/runs?token={EMAIL}"):  # fmt: skip
        yield service.get(place, token=token)
    for header in ("Idempotency-Key", "X-Api-Key", "Authorization", "If-Match", "Host"):
        yield service.post(PATH, whole | {"batchSize": 0}, headers={header: f"Bearer {EMAIL}"})
    headers = {"X-Correlation-ID": EMAIL, "traceparent": EMAIL, "User-Agent": EMAIL,
               "Idempotency-Key": EMAIL}  # fmt: skip
    yield service.post(PATH, whole, token=token, headers=headers)
    yield service.ask("PUT", "/v1/uploads/x?expires=1&signature=" + EMAIL, NAME.encode())


def subject_requests(service: Service) -> Iterator[Answer]:
    """Data subject requests, right and wrong ones."""
    token = service.token("privacy", subject="privacy-1")
    right = {"email": EMAIL, "type": "gdpr_delete"}
    answers = [service.post("/v1/dsr", right, token=token) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 409]
    yield from answers
    for wrong in (
        {"type": EMAIL}, {"email": f"{EMAIL} {EMAIL}"}, {EMAIL: NAME}, {"email": [EMAIL]},
        {"extensions": {EMAIL: NAME}}, {"identities": [{"type": NAME, "value": EMAIL}]},
    ):  # fmt: skip
        yield service.post("/v1/dsr", {**right, **wrong}, token=token)
    yield service.get(f"/v1/dsr?email={EMAIL}&{EMAIL}=1", token=token)
    yield service.post("/v1/dsr:search", {"email": [EMAIL]}, token=token)
    yield service.post("/v1/dsr:search", {"email": EMAIL}, token=token)


def raw(service: Service, content: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(content)
        assert not marks_in(connection.recv(65536))


def wait_for_end(scene: Scene, token: str, job: str) -> dict[str, Any]:

    def ended() -> dict[str, Any] | None:
        now = dict(scene.service.get(f"{PATH}/{job}", token=token).json)
        return now if now["status"] in {"completed", "failed", "cancelled"} else None

    return wait_until(ended, "the job's end") or {}


@contextmanager
def processes_watched(scene: Scene) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            scene.arguments |= command_lines()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def command_lines() -> set[bytes]:
    """The arguments and variables of all processes of Lethe."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (process / "cmdline").read_bytes()
            if b"lethe" in line or b"runners" in line or b"gunicorn" in line:
                found |= {line, (process / "environ").read_bytes()}
    return found


def marks_in(content: bytes) -> list[bytes]:
    lowered = content.lower()
    return [mark for mark in MARKS if mark in lowered]


def test_jobs_ended_as_they_had_to(scene: Scene) -> None:
    """So that what follows looks at something."""
    ended = {name: (now["status"], now["failedContacts"]) for name, now in scene.ended.items()}
    assert ended["enrich"] == ("completed", 3)
    assert ended["fail"] == ("completed", 0)
    assert ended["refuse"] == ("completed", 2)
    assert ended["misused"][0] == "failed"


def test_logs_of_the_service_hold_none(scene: Scene) -> None:
    assert scene.service.logged().count("\n") > 50
    assert marks_in(scene.service.logged().encode()) == []


def test_logs_of_runs_hold_none(scene: Scene) -> None:
    logs = [*(scene.folder / "state").rglob("*.log")]
    assert len(logs) >= len(MODES)
    assert {log.name: marks_in(log.read_bytes()) for log in logs} == {log.name: [] for log in logs}


def test_errors_hold_none(scene: Scene) -> None:
    refused = [answer for answer in scene.refusals if answer.status >= 400]
    assert len(refused) > 30
    for answer in refused:
        assert marks_in(answer.body + repr(answer.headers).encode()) == [], answer.body


def test_statuses_of_jobs_hold_none(scene: Scene) -> None:
    assert marks_in(json.dumps(scene.ended).encode()) == []


def test_what_is_said_on_sockets_holds_none(scene: Scene) -> None:
    assert len(scene.spoken) >= 5
    assert marks_in(json.dumps(scene.spoken).encode()) == []


def test_metrics_hold_none(scene: Scene) -> None:
    assert b"lethe_" in scene.metrics
    assert marks_in(scene.metrics) == []


def test_arguments_and_variables_of_processes_hold_none(scene: Scene) -> None:
    assert any(b"runners.cli\0job" in each for each in scene.arguments)
    assert [each for each in scene.arguments if marks_in(each)] == []


def test_names_of_files_hold_none(scene: Scene) -> None:
    names = "\n".join(str(path.relative_to(scene.folder)) for path in scene.folder.rglob("*"))
    assert marks_in(names.encode()) == []


def test_only_files_of_jobs_hold_any(scene: Scene) -> None:
    holding = {path.relative_to(scene.folder).parts[:3] for path in files(scene) if holds(path)}
    assert holding == {("state", "files", "enrichment"), ("state", "files", "uploads")}


def test_nobody_else_can_get_at_them(scene: Scene) -> None:
    for path in (path for path in files(scene) if holds(path)):
        doors = [folder for folder in path.parents if folder.is_relative_to(scene.folder / "state")]
        modes = [stat.S_IMODE(folder.stat().st_mode) for folder in doors]
        assert modes[-2:] == [0o700, 0o700], "the folder of all files, and that of the state"


def test_databases_and_logs_are_behind_the_same_door(scene: Scene) -> None:
    assert stat.S_IMODE((scene.folder / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((scene.folder / "keys").stat().st_mode) == 0o700


def files(scene: Scene) -> list[Path]:
    return [path for path in scene.folder.rglob("*") if path.is_file()]


def holds(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return bool(marks_in(path.read_bytes()))
    return False
