"""What it costs to believe a callback: certificate, signature, and the whole of it over WSGI.

    python -m bench.callbacks [--times N]

In one process, without a network: ``certificate`` checks a chain of three anew, ``signature`` one
over a body of 400 bytes by a key of 2,048 bits, ``verified`` both as they are done for each
callback, with what is remembered of the chain. ``request`` is a callback through the whole service,
which changes a request in SQLite, with its event and its audit entry. Prints a Markdown table.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles
from typing import Annotated

import structlog
import typer

from config.dsr import CallbackPeerSection, CallbacksSection
from config.settings import load_settings
from dsr.signing import check_signature, sign
from dsr.trust import Peer, Trust
from dsr.verification import signed, verification, verify
from schemas.audit import AuditDraft
from schemas.dsr import DsrStatus, Forwarding
from service.app import create_app
from service.bootstrap import Wiring, wire
from service.routes.opendsr_callbacks import PATH
from tests.certificate_host import certificate_host
from tests.dsr_requests import a_request
from tests.pki import DOMAIN, NOW, Pki, pem_of

PKI = Pki()
SIGNER = PKI.signer()
PEER = Peer("bench", DOMAIN)
OURS = "https://lethe.example.com/v1/dsr/callbacks/opendsr"


@dataclass(frozen=True)
class Measured:
    """What one thing took, in milliseconds."""

    name: str
    p50: float
    p95: float
    p99: float


def main(times: Annotated[int, typer.Option(min=100)] = 2000) -> None:
    """Measure, and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    measured = [*checks(times), *_requests(min(times, 1000))]
    print("| | P50 ms | P95 ms | P99 ms |\n|---|---|---|---|")
    for one in measured:
        print(f"| {one.name} | {one.p50:.2f} | {one.p95:.2f} | {one.p99:.2f} |")


CHECKED = (PEER, SIGNER.chain, NOW)


def checks(times: int) -> list[Measured]:
    """What is checked of a callback, alone and together."""
    return [
        timed("certificate", times, lambda: Trust([PKI.root.certificate]).key_of(*CHECKED)),
        timed("signature", times, _signature()),
        timed("verified", times, _verified()),
    ]


def timed(name: str, times: int, work: Callable[[], object]) -> Measured:
    """The percentiles of ``work``, done so many times."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    parts = quantiles(taken, n=100)
    return Measured(name, parts[49], parts[94], parts[98])


def body_of(request_id: str) -> bytes:
    """A callback as mParticle writes it."""
    content = {
        "controller_id": "1234",
        "expected_completion_time": "2026-12-01T10:20:30.1234567Z",
        "status_callback_url": OURS,
        "subject_request_id": request_id,
        "request_status": "completed",
        "results_url": None,
    }
    return json.dumps(content).encode().ljust(400)


def _signature() -> Callable[[], object]:
    body = body_of(str(uuid.uuid4()))
    key, signature = SIGNER.key.public_key(), sign(SIGNER.key, body)
    return lambda: check_signature(key, body, signature)


def _verified() -> Callable[[], object]:
    trust, peers = Trust([PKI.root.certificate]), {DOMAIN: PEER}
    body = body_of(str(uuid.uuid4()))
    headers = SIGNER.headers(body)

    def once() -> object:
        asking = verification(signed(headers, body), peers, trust, lambda: NOW)
        return verify(asking, lambda _: SIGNER.chain)

    return once


def _requests(times: int) -> Iterator[Measured]:
    with (
        tempfile.TemporaryDirectory() as folder,
        certificate_host(SIGNER.pem) as host,
        _service(Path(folder), host.url) as wiring,
    ):
        client = create_app(wiring).test_client()
        messages = iter([_submitted(wiring) for _ in range(times + 1)])

        def send() -> None:
            body = next(messages)
            answer = client.post(PATH, data=body, headers=SIGNER.headers(body))
            assert answer.status_code == 202, answer.text

        yield timed("request (with signing it)", times, send)


@contextmanager
def _service(folder: Path, url: str) -> Iterator[Wiring]:
    (folder / "roots.pem").write_bytes(pem_of(PKI.root.certificate))
    peer = CallbackPeerSection(domain=DOMAIN, certificate_url=url)
    settings = load_settings(
        env="test",
        state={"folder": folder / "state"},
        parameters={"source": "file", "folder": folder / "keys"},
        outbound={"plain_http": True, "networks": ["127.0.0.0/8"]},
        service={"limits": {"address": "none", "everything": "none"}},
        callbacks=CallbacksSection(
            urls=(OURS,), roots=folder / "roots.pem", processors={"bench": peer}
        ),
    )
    wiring = replace(wire(settings), clock=lambda: NOW)
    yield wiring
    wiring.state.close()


def _submitted(wiring: Wiring) -> bytes:
    """A request that was forwarded, and the callback that closes it."""
    made = a_request(
        status=DsrStatus.SUBMITTED,
        forwarding=Forwarding(processor="bench", region="here"),
        subjects=(uuid.uuid4().hex * 2,),
        sealed=b"",
    )
    wiring.state.dsr.add([made], [AuditDraft("bench", "org-1", "dsr.submitted", f"dsr:{made.id}")])
    return body_of(made.id)


if __name__ == "__main__":
    typer.run(main)
