"""The sample clients of `docs/clients` as processes, with what they need and what they print."""

import atexit
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from locusting import environment
from node_packages import node_modules
from serving import DEADLINE_S, ROOT

__all__ = ["CLIENTS", "COMMANDS", "Program", "running"]

CLIENTS = ROOT / "docs" / "clients"

COMMANDS = {
    "Python": ("python python/simple.py", "python python/pubsub.py"),
    "Node": ("node node/simple.js", "node node/pubsub.js"),
    "Java": ("java java/Simple.java", "java java/PubSub.java"),
    "C#": ("dotnet run --project csharp/simple", "dotnet run --project csharp/pubsub"),
}
"""The simple and the PubSub client of each language that runs as a process, as its README says."""

_INSTALL_S = 300


def _available(language: str) -> dict[str, str]:
    """The environment for clients of that language; skips the test where they cannot run."""
    needed = {"Java": ("javac",), "C#": ("dotnet",)}.get(language, ())
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: the {language} clients are not tested here")
    if language == "Node":
        return {"NODE_PATH": str(_node_modules())}
    return {"DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1"} if language == "C#" else {}


def _node_modules() -> Path:
    """The packages of `node/package.json`."""
    wanted = json.loads((CLIENTS / "node" / "package.json").read_text())["dependencies"]
    return node_modules(*(f"{name}@{version}" for name, version in sorted(wanted.items())))


@cache
def _csharp() -> Path:
    """A copy of the C# clients that are built, so that the tree stays as it is."""
    folder = Path(tempfile.mkdtemp(prefix="wpsload-csharp-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(CLIENTS / "csharp", folder / "csharp")
    for project in sorted((folder / "csharp").iterdir()):
        _run(["dotnet", "restore", str(project)], otherwise=pytest.skip)
        _run(["dotnet", "build", "--no-restore", str(project)], otherwise=pytest.fail)
    return folder


def _run(command: list[str], *, otherwise: Callable[[str], object]) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    if done.returncode != 0:
        otherwise(f"{' '.join(command[:2])} failed: {done.stdout[-300:]}")


class Program:
    """A client while it runs. Its lines are read as they come, so that it never blocks on them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self.printed: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def wait_for(self, is_there: Callable[[str], bool]) -> str:
        """The first line, from the beginning on, of which that is true."""
        deadline = time.monotonic() + 3 * DEADLINE_S  # some are compiled first
        for line in self.printed:
            if is_there(line):
                return line
        while True:
            try:
                line = self._lines.get(timeout=deadline - time.monotonic())
            except (queue.Empty, ValueError):
                pytest.fail("it did not print what was expected, but:\n" + "\n".join(self.printed))
            self.printed.append(line)
            if is_there(line):
                return line

    def wait_for_frame(self, **fields: Any) -> None:
        """Return when it has printed a JSON object with those fields."""
        self.wait_for(lambda line: line.startswith("{") and fields.items() <= _frame(line).items())

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit code."""
        os.killpg(self._process.pid, signal.SIGINT)  # as a terminal does, to its children too
        return self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended and all that it printed is there."""
        code = self._process.wait(3 * DEADLINE_S)
        self._reader.join(DEADLINE_S)
        while not self._lines.empty():
            self.printed.append(self._lines.get())
        return code


def _frame(line: str) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(line)
    return {name: value for name, value in frame.items() if isinstance(value, str | int)}


@contextmanager
def running(
    language: str, command: str, *arguments: str, environ: dict[str, str] | None = None
) -> Iterator[Program]:
    """A sample client; killed on leaving if it has not ended."""
    with _started(language, command, arguments, environ or {}) as process:
        try:
            yield Program(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _started(
    language: str, command: str, arguments: Sequence[str], environ: dict[str, str]
) -> "subprocess.Popen[str]":
    program, *rest = command.split()
    extra = _available(language) | environ
    return subprocess.Popen(
        [sys.executable if program == "python" else program, *rest, *arguments],
        cwd=_csharp() if language == "C#" else CLIENTS,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
