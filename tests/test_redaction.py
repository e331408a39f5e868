"""What somebody put on a command line by mistake does not get into a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "wss://x/client/hubs/h?access_token=abc.def&x=1",
            "wss://x/client/hubs/h?access_token=***&x=1",
        ),
        (
            "Endpoint=https://x;AccessKey=abc==;Version=1.0;",
            "Endpoint=https://x;AccessKey=***;Version=1.0;",
        ),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "***"),
        ("http://me:word@proxy:8080", "http://me:***@proxy:8080"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("--users 5", "--users 5"),
    ],
)
def test_secrets_are_struck_out(text: str, shown: str) -> None:
    """And the rest stays, so that the command can be repeated."""
    assert redacted(text) == shown


@given(st.text())
def test_twice_is_as_good_as_once(text: str) -> None:
    """Stars are no secret."""
    assert redacted(redacted(text)) == redacted(text)
