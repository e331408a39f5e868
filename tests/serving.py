"""A real stand-in process for tests, and how long to wait for anything."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import jwt
import pytest

__all__ = ["DEADLINE_S", "StandIn", "running"]

DEADLINE_S = 10.0 * float(os.environ.get("WPS_TEST_TIMEOUT_FACTOR", "1"))
"""Wait this long for something that should happen soon; slow machines stretch it."""

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class StandIn:
    """One running `wpsload serve`."""

    connection_string: str
    endpoint: str
    hub: str
    port: int
    pid: int
    process: "subprocess.Popen[str]" = field(repr=False)

    @property
    def access_key(self) -> str:
        """The key that signs its tokens."""
        return self.connection_string.split("AccessKey=")[1].split(";")[0]

    def stats(self) -> dict[str, Any]:
        """Its ledger, as `GET /_standin/stats` gives it."""
        status, _, body = self.request("GET", "/_standin/stats")
        assert status == 200
        counts: dict[str, Any] = json.loads(body)
        return counts

    def request(
        self, method: str, target: str, *, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower-case names) and body of one plain HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, target, body=body or None, headers=headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return response.status, names, response.read()
        finally:
            connection.close()

    def token(self, **claims: Any) -> str:
        """A client token for the hub, valid for an hour; `claims` add to it or replace; None drops.

        Signed here by pyjwt, so that our own minting is not its own judge.
        """
        now = datetime.now(tz=UTC)
        values: dict[str, Any] = {
            "aud": f"{self.endpoint}/client/hubs/{self.hub}",
            "iat": now,
            "exp": now + timedelta(hours=1),
        }
        values |= claims
        values = {name: value for name, value in values.items() if value is not None}
        return jwt.encode(values, self.access_key, algorithm="HS256")

    def client_url(
        self,
        *,
        user_id: str | None = None,
        roles: Sequence[str] = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"),
        groups: Sequence[str] = (),
        **query: str,
    ) -> str:
        """A `ws://` URL with a token in its query; `query` adds parameters."""
        claims = {"sub": user_id, "role": list(roles), "webpubsub.group": list(groups)}
        parameters = {"access_token": self.token(**claims), **query}
        root = self.endpoint.replace("http", "ws", 1)
        return f"{root}/client/hubs/{self.hub}?{urlencode(parameters)}"


@contextmanager
def running(*arguments: str, environ: dict[str, str] | None = None) -> Iterator[StandIn]:
    """A stand-in started with `arguments`; stopped, and checked for a clean stop, on leaving.

    Fails the test with what the process said on stderr if it does not start or ends badly.
    """
    command = [sys.executable, "-m", "wpsload", "serve", "--json", *arguments]
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=ROOT,
            env=os.environ | (environ or {}),
        ) as process,
    ):
        try:
            yield StandIn(process=process, **_read_description(process, stderr))
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = process.wait(DEADLINE_S)
        finally:
            process.kill()
        said = _said(stderr)
        if code != 0 or "Traceback" in said:
            pytest.fail(f"the stand-in ended with exit code {code}:\n{said}")


def _read_description(process: "subprocess.Popen[str]", stderr: IO[str]) -> dict[str, Any]:
    assert process.stdout is not None
    with ThreadPoolExecutor(1) as reader:
        line = reader.submit(process.stdout.readline)
        try:
            text = line.result(DEADLINE_S)
        except TimeoutError:
            process.kill()  # ends the read as well
            pytest.fail(f"the stand-in did not start in {DEADLINE_S:g} s:\n{_said(stderr)}")
    if not text:
        code = process.wait(DEADLINE_S)
        pytest.fail(f"the stand-in did not start, exit code {code}:\n{_said(stderr)}")
    description: dict[str, Any] = json.loads(text)
    return description


def _said(stderr: IO[str]) -> str:
    stderr.seek(0)
    return stderr.read()
