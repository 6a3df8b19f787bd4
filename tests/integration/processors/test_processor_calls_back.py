"""The callbacks of the mock processor, by real connections, checked by whoever gets them."""

from __future__ import annotations

import base64
import queue
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from config.dsr import ProcessorSection, RegionSection
from schemas.dsr import Identity, IdentityType, Regulation, RequestType
from schemas.opendsr.answers import decode_report
from schemas.opendsr.model import Dialect, SubjectRequest
from stores.parameters import EnvironmentParameters
from stores.processors.opening import open_processor
from stores.streams.backoff import SystemClock
from tests.mock_processor import DOMAIN, RunningProcessor, running_processor
from tests.waiting import PATIENCE

Heard = tuple[Message, bytes]


class Listener:
    """An address, and the callbacks that come to it."""

    def __init__(self, url: str, heard: queue.Queue[Heard]) -> None:
        self.url = url
        self.heard = heard

    def next(self) -> Heard:
        return self.heard.get(timeout=PATIENCE)


@pytest.fixture
def listener() -> Iterator[Listener]:
    heard: queue.Queue[Heard] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.put((self.headers, body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Listener(f"http://127.0.0.1:{server.server_port}/callbacks", heard)
        server.shutdown()


@pytest.fixture(scope="module")
def processor() -> Iterator[RunningProcessor]:
    with running_processor(step=None) as running:
        yield running


def submit(processor: RunningProcessor, url: str) -> str:
    """Have the processor tell of a new request at this address; the request's id."""
    regions = (RegionSection(name="here", url=processor.url),)
    section = ProcessorSection(dialect=Dialect.MPARTICLE_3, regions=regions)
    client = open_processor("mock", section, EnvironmentParameters(), SystemClock())
    sent = SubjectRequest(
        str(uuid.uuid4()), Regulation.CCPA, RequestType.ACCESS, datetime.now(UTC),
        (Identity(IdentityType.CONTROLLER_CUSTOMER_ID, uuid.uuid4().hex),), (url,),
    )  # fmt: skip
    client.submit(sent)
    return sent.id


def test_callback_tells_of_the_status(processor: RunningProcessor, listener: Listener) -> None:
    request_id = submit(processor, listener.url)
    processor.advance()
    report = decode_report(listener.next()[1])
    assert (report.request_id, report.status.value) == (request_id, "in_progress")
    assert report.callback_url == listener.url


def test_callback_is_signed_by_the_certificate_that_is_served(
    processor: RunningProcessor, listener: Listener
) -> None:
    submit(processor, listener.url)
    processor.advance()
    headers, body = listener.next()
    with urlopen(processor.certificate_url, timeout=5) as answer:
        key = x509.load_pem_x509_certificates(answer.read())[0].public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    signature = base64.b64decode(headers["X-OpenDSR-Signature"])
    key.verify(signature, body, padding.PKCS1v15(), hashes.SHA256())
    assert headers["X-OpenDSR-Processor-Domain"] == DOMAIN
