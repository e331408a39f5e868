"""The stand-in as a child process, started and stopped by a load test that names no target."""

import contextlib
import http.client
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from wpsload.errors import WpsloadError
from wpsload.secret import Secret
from wpsload.target import VARIABLES

__all__ = ["EmbeddedStandin", "StandinError", "start"]

_START_DEADLINE_S = 20.0
_STOP_DEADLINE_S = 3.0
_STATS_DEADLINE_S = 10.0
_STDERR_TAIL_LINES = 20


class StandinError(WpsloadError):
    """The embedded stand-in did not start, died, or does not answer."""


@dataclass(slots=True)
class EmbeddedStandin:
    """A running stand-in. Leaving it as a context manager stops it."""

    connection_string: Secret
    endpoint: str
    hub: str
    port: int
    pid: int
    _child: "_Child" = field(repr=False)

    def stats(self) -> dict[str, Any]:
        """The stand-in's own counts, from `GET /_standin/stats`.

        Raises:
            StandinError: if it gives no usable answer.
        """
        address = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(
            address.hostname or "", self.port, timeout=_STATS_DEADLINE_S
        )
        try:
            connection.request("GET", "/_standin/stats")
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._child.error("the embedded stand-in does not answer") from error
        finally:
            connection.close()
        value = _json_object(_decode(body))
        if status != 200 or value is None:
            raise self._child.error(f"the embedded stand-in answered HTTP {status} without stats")
        return value

    def stop(self, *, deadline_s: float = _STOP_DEADLINE_S) -> None:
        """End the child: ask, then insist, twice, `deadline_s` apart. Again does nothing."""
        self._child.stop(deadline_s)

    def __enter__(self) -> "EmbeddedStandin":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start(
    *,
    extra: Sequence[str] = (),
    deadline_s: float = _START_DEADLINE_S,
    environ: Mapping[str, str] | None = None,
) -> EmbeddedStandin:
    """A stand-in on a free loopback port, ready to accept clients.

    `extra` are further arguments of `wpsload serve`. `environ` is the environment of the child,
    by default that of this process; the variables that name a target are taken out of it. The
    child ends when its stdin closes, so it cannot outlive this process.

    Raises:
        StandinError: if it is not ready within `deadline_s`, with the end of what it said.
    """
    arguments = ["serve", "--port", "0", "--json", "--ack-delay", "0ms", "--until-stdin-closes"]
    child = _Child(
        [sys.executable, "-m", "wpsload", *arguments, *extra],
        {
            name: value
            for name, value in (os.environ if environ is None else environ).items()
            if name not in VARIABLES
        },
    )
    try:
        return _ready(child, child.first_line(deadline_s))
    except BaseException:
        child.stop(_STOP_DEADLINE_S)
        raise


def _ready(child: "_Child", line: str) -> EmbeddedStandin:
    value = _json_object(line) or {}
    try:
        return EmbeddedStandin(
            connection_string=Secret(str(value["connection_string"])),
            endpoint=str(value["endpoint"]),
            hub=str(value["hub"]),
            port=int(value["port"]),
            pid=int(value["pid"]),
            _child=child,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise child.error("the embedded stand-in did not say where it listens") from error


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class _Child:
    """A process with a pipe to its stdin, and readers of its stdout and stderr.

    The readers are threads, because a pipe cannot be waited for with a deadline on Windows. Where
    gevent has patched the process they are greenlets, and the pipes are gevent's too.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 our own program
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environ),
                **_own_group(),
            )
        except OSError as error:
            raise StandinError(f"cannot start the embedded stand-in: {error.strerror}") from error
        self._owner_pid = os.getpid()
        self._is_stopped = False
        self._first: queue.Queue[str] = queue.Queue()
        self._tail: deque[str] = deque(maxlen=_STDERR_TAIL_LINES)
        self._readers = [
            threading.Thread(target=read, name=f"standin-{read.__name__}", daemon=True)
            for read in (self._read_stdout, self._read_stderr)
        ]
        for reader in self._readers:
            reader.start()

    def first_line(self, deadline_s: float) -> str:
        """The first line that the child writes to stdout."""
        try:
            line = self._first.get(timeout=deadline_s)
        except queue.Empty:
            raise self.error(f"the embedded stand-in was not ready in {deadline_s:g} s") from None
        if not line:
            # stdout ends a moment before the process does, and its last words may be on the way.
            self._wait(_STOP_DEADLINE_S)
            self._join()
            code = self._process.returncode
            raise self.error(f"the embedded stand-in ended at its start with exit code {code}")
        return line

    def error(self, message: str) -> StandinError:
        """`message`, with the end of the child's stderr as its hint."""
        return StandinError(message, hint="\n".join(self._tail) or None)

    def stop(self, deadline_s: float) -> None:
        """Close the child's stdin; if that is not enough, terminate it; at last kill it."""
        # A worker that Locust forked has a copy of this object, but the child is not its own.
        if self._is_stopped or os.getpid() != self._owner_pid:
            return
        self._is_stopped = True
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        # Forked workers that still run hold the pipe open, so its end may not reach the child.
        if not self._wait(deadline_s):
            self._process.terminate()
            if not self._wait(deadline_s):
                self._process.kill()
                self._process.wait()
        self._join()
        _pipe(self._process.stdout).close()
        _pipe(self._process.stderr).close()

    def _wait(self, deadline_s: float) -> bool:
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(_STOP_DEADLINE_S)

    def _read_stdout(self) -> None:
        """Pass on the first line, empty if there is none; then keep the pipe from filling up."""
        stdout = _pipe(self._process.stdout)
        self._first.put(_decode(stdout.readline()))
        for _ in stdout:
            pass

    def _read_stderr(self) -> None:
        for line in _pipe(self._process.stderr):
            self._tail.append(_decode(line).rstrip())


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("the child was started with three pipes")
    return pipe


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _own_group() -> dict[str, Any]:
    """Arguments that keep Ctrl-C from the child: users still have to close their connections."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
