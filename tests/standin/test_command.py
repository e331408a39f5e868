"""Options of `wpsload serve` that are refused before anything listens; the rest over a process:
`test_server.py`."""

import os
import sys

import pytest

from wpsload.cli import cli
from wpsload.errors import ConfigError
from wpsload.standin.command import ACCESS_KEY_VARIABLE

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="bytes that are no text")


@pytest.mark.parametrize(
    "key",
    [
        " ",
        " key",
        "key ",
        "k;k",
        "k k",
        "k\nk",
        "k\tk",
        "ü",
        "-----BEGIN PUBLIC KEY-----",
        pytest.param(os.fsdecode(b"\x80"), marks=posix_only),
    ],
)
def test_an_access_key_that_cannot_be_used(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that could not stand in a connection string, or is no text, is refused."""
    monkeypatch.setenv(ACCESS_KEY_VARIABLE, key)

    with pytest.raises(ConfigError, match="cannot be used as an access key"):
        cli(["serve"], standalone_mode=False)


@pytest.mark.parametrize("host", ["", " "])
def test_an_empty_host_is_refused(host: str) -> None:
    """It would mean all addresses, without anybody having said so."""
    with pytest.raises(ConfigError, match="--host is empty"):
        cli(["serve", "--host", host], standalone_mode=False)
