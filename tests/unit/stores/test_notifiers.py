"""Ways to operators: what they are sent, and what becomes of it if that fails."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws
from structlog.testing import capture_logs

from config.dsr import AlertsSection, OutboundSection
from schemas.alerts import Alert, AlertKind, shown_alert
from stores.notify.log import LogNotifier
from stores.notify.opening import open_notifiers
from stores.notify.port import Notifiers, NotTold
from stores.notify.sns import SnsNotifier
from stores.notify.webhook import WebhookNotifier
from stores.outbound import Outbound, OutboundAnswer, OutboundRules, Unanswered

ALERT = Alert(
    kind=AlertKind.REQUEST_PARKED,
    key="parked:1",
    at=datetime(2026, 11, 21, 9, tzinfo=UTC),
    resource="dsr:1",
    message="a request waits",
    details={"attempts": 3},
)
SECRET_URL = "https://alerts.example/secret"


class Answering(Outbound):
    """Answers every request so."""

    def __init__(self, status: int | None) -> None:
        super().__init__(OutboundRules())
        self.status, self.sent = status, list[Any]()

    def send(self, method: str, url: str, body: bytes = b"", headers: Any = None) -> OutboundAnswer:
        self.sent.append((method, url, json.loads(body), headers))
        if self.status is None:
            raise Unanswered("no answer")
        return OutboundAnswer(self.status, {}, b"")


class Way:
    def __init__(self, works: bool) -> None:
        self.works, self.heard = works, list[Alert]()

    def notify(self, alert: Alert) -> None:
        if not self.works:
            raise NotTold("deaf")
        self.heard.append(alert)


def test_log_gets_one_line_with_all_that_is_known() -> None:
    with capture_logs() as lines:
        LogNotifier().notify(ALERT)
    assert lines == [{"event": "alert", "log_level": "error", **shown_alert(ALERT)}]


def test_webhook_is_sent_the_alert_as_json() -> None:
    outbound = Answering(200)
    WebhookNotifier(SECRET_URL, outbound).notify(ALERT)
    [(method, url, body, _)] = outbound.sent
    assert (method, url, body) == ("POST", SECRET_URL, shown_alert(ALERT))


@pytest.mark.parametrize("status", [None, 302, 404, 500])
def test_alert_that_is_not_taken_is_not_told(status: int | None) -> None:
    with pytest.raises(NotTold) as refused:
        WebhookNotifier(SECRET_URL, Answering(status)).notify(ALERT)
    assert "secret" not in str(refused.value)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.mark.usefixtures("credentials")
def test_topic_of_sns_is_sent_the_alert() -> None:
    with mock_aws():
        topic = boto3.client("sns", "eu-west-1").create_topic(Name="alerts")["TopicArn"]
        sqs = boto3.client("sqs", "eu-west-1")
        queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
        boto3.client("sns", "eu-west-1").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:eu-west-1:123456789012:heard"
        )
        SnsNotifier(topic).notify(ALERT)
        [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    told = json.loads(message["Body"])
    assert json.loads(told["Message"]) == shown_alert(ALERT)
    assert told["MessageAttributes"]["kind"]["Value"] == "request_parked"


@pytest.mark.usefixtures("credentials")
def test_topic_that_is_not_there_is_not_told() -> None:
    with mock_aws(), pytest.raises(NotTold, match="NotFound"):
        SnsNotifier("arn:aws:sns:eu-west-1:123456789012:none").notify(ALERT)


def test_one_way_that_fails_keeps_no_other_from_telling() -> None:
    deaf, well = Way(works=False), Way(works=True)
    with pytest.raises(NotTold, match="1 of 2"):
        Notifiers([deaf, well]).notify(ALERT)
    assert well.heard == [ALERT]


def test_log_is_told_whatever_else_is_configured() -> None:
    with capture_logs() as lines:
        open_notifiers(AlertsSection(), OutboundSection()).notify(ALERT)
    assert [line["event"] for line in lines] == ["alert"]
