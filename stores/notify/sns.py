"""Alerts to a topic of AWS SNS."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.alerts import Alert, shown_alert
from stores.notify.port import NotTold

_LONGEST_SUBJECT = 100
"""Characters, of SNS's."""


class SnsNotifier:
    """Publishes each alert as JSON; its kind is an attribute, for filters of subscriptions."""

    def __init__(self, topic_arn: str, client: Any = None) -> None:
        self._topic_arn = topic_arn
        self._client = client

    def notify(self, alert: Alert) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        kind = {"DataType": "String", "StringValue": alert.kind.value}
        try:
            self._opened().publish(
                TopicArn=self._topic_arn,
                Subject=f"Lethe: {alert.kind.value}"[:_LONGEST_SUBJECT],
                Message=msgspec.json.encode(shown_alert(alert)).decode(),
                MessageAttributes={"kind": kind},
            )
        except ClientError as error:
            raise NotTold(f"SNS did not take it: {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise NotTold(f"SNS did not answer: {type(error).__name__}") from None

    def _opened(self) -> Any:
        if self._client is None:
            import boto3
            from botocore.config import Config

            patience = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2})
            region = self._topic_arn.split(":")[3]
            self._client = boto3.client("sns", region_name=region, config=patience)
        return self._client
