"""Real Locust runs in processes of their own, and what they left behind."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import DEADLINE_S, ROOT

from wpsload.target import VARIABLES

__all__ = [
    "Finished",
    "command",
    "environment",
    "free_port",
    "on_one_core",
    "post",
    "read",
    "run_locust",
    "running_locust",
]

LOCUSTFILES = ROOT / "locustfiles"


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over. `said` is stdout and stderr together, as a person sees them."""

    code: int
    said: str
    prefix: Path

    def rows(self, kind: str) -> list[dict[str, str]]:
        """The rows of `<prefix>_<kind>.csv`."""
        with Path(f"{self.prefix}_{kind}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def counts(self, type: str, name: str) -> tuple[int, int]:
        """Requests and failures of one row of Locust's table."""
        for row in self.rows("stats"):
            if (row["Type"], row["Name"]) == (type, name):
                return int(row["Request Count"]), int(row["Failure Count"])
        return 0, 0

    def failures(self) -> dict[tuple[str, str], int]:
        """Occurrences by name and text, from Locust's table of failures."""
        return {
            (row["Name"], row["Error"]): int(row["Occurrences"]) for row in self.rows("failures")
        }


def command(locustfile: str | Path, *arguments: str) -> list[str]:
    """The command line of a run; a bare name is one of `locustfiles/`."""
    path = LOCUSTFILES / locustfile if isinstance(locustfile, str) else locustfile
    ports: tuple[str, ...] = ()
    if "--processes" in arguments:  # not Locust's fixed port, where somebody else may listen
        port = str(free_port())
        ports = ("--master-bind-port", port, "--master-port", port)
    return [sys.executable, "-m", "locust", "-f", str(path), *ports, *arguments]


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without a target or a virtual environment, and with `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in (*VARIABLES, "VIRTUAL_ENV") and not name.startswith(("WPS_", "LOCUST_"))
    }
    # Tests that are not about the verdict must not fail because others use the same cores.
    return kept | {"PYTHONUNBUFFERED": "1", "WPS_VERDICT": "warn"} | dict(extra or {})


def run_locust(
    locustfile: str | Path,
    *arguments: str,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    deadline_s: float = 6 * DEADLINE_S,
) -> Finished:
    """Run Locust headless in `folder` until it ends by itself."""
    prefix = folder / "out" / "run"
    done = subprocess.run(
        command(locustfile, "--headless", "--csv", str(prefix), *arguments),
        cwd=folder,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    return Finished(done.returncode, done.stdout, prefix)


@contextmanager
def running_locust(
    locustfile: str | Path,
    *arguments: str,
    folder: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[str]"]:
    """Locust while it runs; killed on leaving if it has not ended."""
    options: dict[str, Any] = {} if sys.platform == "win32" else {"start_new_session": True}
    with subprocess.Popen(
        command(locustfile, *arguments),
        cwd=folder,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def on_one_core(*, is_shared: bool) -> Iterator[None]:
    """What is started meanwhile runs on the last core alone, beside a busy neighbour if shared."""
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    neighbours = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(3 if is_shared else 0)
    ]
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def post(url: str, form: Mapping[str, Any]) -> Any:
    """The JSON answer of Locust's page to a POST, once somebody listens."""
    return json.loads(read(url, urllib.parse.urlencode(form).encode()))


def read(url: str, body: bytes | None = None) -> bytes:
    """The answer of Locust's page, once somebody listens."""
    request = urllib.request.Request(url, body)  # noqa: S310  # our own loopback URL
    deadline = time.monotonic() + 2 * DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=6 * DEADLINE_S) as answer:  # noqa: S310  # the same
                return bytes(answer.read())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
