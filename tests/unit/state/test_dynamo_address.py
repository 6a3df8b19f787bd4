"""Where a table of state is."""

from __future__ import annotations

import pytest

from schemas.errors import UsageError
from stores.state.dynamo.address import DynamoAddress


def test_a_url_names_table_region_and_endpoint() -> None:
    url = "dynamodb://lethe-prod?region=eu-central-1&endpoint=http://127.0.0.1:8000"
    assert DynamoAddress.parse(url) == DynamoAddress(
        "lethe-prod", "eu-central-1", "http://127.0.0.1:8000"
    )


def test_what_is_not_said_is_left_to_the_sdk() -> None:
    assert DynamoAddress.parse("dynamodb://lethe") == DynamoAddress("lethe")


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://",
        "dynamodb:lethe",
        "dynamodb://no/path",
        "dynamodb://key:secret@lethe",
        "dynamodb://ab",
        "dynamodb://lethe?region=EU West",
        "dynamodb://lethe?region=",
        "dynamodb://lethe?region=a1&region=b2",
        "dynamodb://lethe?zone=secret",
        "dynamodb://lethe?secret",
        "dynamodb://lethe?endpoint=ftp://secret",
        "dynamodb://lethe?endpoint=http://key:secret@host",
        "dynamodb://[lethe",
    ],
)
def test_a_url_that_is_none_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match=r"state\.url.*write dynamodb://TABLE") as caught:
        DynamoAddress.parse(url)
    assert "secret" not in caught.value.message
