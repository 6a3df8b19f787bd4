"""What DynamoDB answers when it refuses, as its documentation has it."""

from __future__ import annotations

import json
from typing import Any

from tests.faults import Reply

_TYPE = "com.amazonaws.dynamodb.v20120810#"
SECRET = "hidden-word"
"""Stands in the messages; nobody is to see it."""


def refused(code: str, **more: Any) -> Reply:
    """The answer to a request that fails with this code."""
    return Reply(400, json.dumps({"__type": _TYPE + code, "message": SECRET, **more}))


def cancelled(*reasons: str) -> Reply:
    """The answer to a transaction that is cancelled, with a reason for each of its writes."""
    told = [{"Code": reason, "Message": SECRET} for reason in reasons]
    return refused("TransactionCanceledException", CancellationReasons=told)


THROTTLED = [
    refused("ProvisionedThroughputExceededException"),
    refused("ThrottlingException"),
    refused("RequestLimitExceeded"),
    refused("TransactionInProgressException"),
    cancelled("None", "ThrottlingError", "None", "None"),
    cancelled("None", "None", "None", "TransactionConflict"),
    cancelled("ProvisionedThroughputExceeded", "TransactionConflict", "None", "None"),
    Reply(500, json.dumps({"__type": _TYPE + "InternalServerError", "message": SECRET})),
    Reply(503, "<html>busy</html>"),
]
