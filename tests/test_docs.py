"""The README is true: its commands run, its tables are complete, its example is a scenario."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from locusting import environment
from serving import DEADLINE_S, ROOT, StandIn

from wpsload.cli import cli
from wpsload.metrics import METRICS
from wpsload.options import OPTIONS
from wpsload.target import VARIABLES

README = (ROOT / "README.md").read_text(encoding="utf-8")

# `make demo` and `make test` are run by whoever runs these tests, and the two installations by
# `test_installation`.
SETTING_UP = ("make ", "python3 -m venv", "uv ")


def blocks(language: str) -> list[str]:
    """The fenced code blocks of a language, without the indent of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.M | re.S)
    return [re.sub(f"^{indent}", "", body, flags=re.M) for indent, body in found]


RUNNABLE = [block for block in blocks("sh") if not block.startswith(SETTING_UP)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a clone holds."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def shell(script: str, folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a reader would who copies it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment({"PATH": path, **extra}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20 * DEADLINE_S,
        check=False,
    )


def test_commands_run(stand_in: StandIn, checkout: Path) -> None:
    """Every command works in the order of the text, with the stand-in in Azure's place."""
    script = "\n".join(RUNNABLE)
    for placeholder, value in (
        (r"wss://<name>\S+?(?=')", stand_in.client_url()),
        (r"Endpoint=https://<name>\S+?(?=')", stand_in.connection_string),
    ):
        script, count = re.subn(placeholder, value, script)
        assert count == 1
    assert "<" not in script, "a placeholder was left"
    done = shell(script, checkout)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    assert done.stdout.count("files: reports/") == script.count("locust -f")
    assert stand_in.stats()["acks"].keys() == {"success"}


@pytest.mark.timeout(20 * DEADLINE_S + 40)  # `shell` is to say what took so long: pip, a compiler
@pytest.mark.parametrize("installer", ["python3 -m venv", "uv venv"])
def test_installation(installer: str, checkout: Path) -> None:
    """Both ways to install lead to a run, in a new virtual environment."""
    (script,) = (block for block in blocks("sh") if block.startswith(installer))
    python3 = f"python3() {{ '{sys.executable}' \"$@\"; }}\n"  # the version under test
    done = shell(python3 + script, checkout, CFLAGS="-O0")  # it need not be fast
    assert done.returncode == 0, done.stdout
    assert "files: reports/" in done.stdout


def test_the_example_scenario_runs(stand_in: StandIn, tmp_path: Path) -> None:
    """The scenario in the text does what it says."""
    (scenario,) = blocks("python")
    (tmp_path / "chat.py").write_text(scenario, encoding="utf-8")
    done = shell(
        "locust -f chat.py --headless --users 3 --spawn-rate 3 --run-time 3s",
        tmp_path,
        WPS_CONNECTION_STRING=stand_in.connection_string,
    )
    assert done.returncode == 0, done.stdout
    assert stand_in.stats()["deliveries"] > 0


def test_the_shown_output_is_real() -> None:
    """The sample has the lines that a run ends with, and no placeholder."""
    (sample,) = (block for block in blocks("text") if "latency  in ms" in block)
    for part in (
        "CONNECT  connect ",
        "ACK      sendToGroup",
        "DELIVERY group",
        "acked",
        "ledger",
        "record: ",
    ):
        assert part in sample


def test_everything_is_documented() -> None:
    """No option, measurement, variable or command is missing from the text."""
    names = [option.flag for option in OPTIONS]
    names += [option.variable for option in OPTIONS]
    names += [f"`{metric.name}`" for metric in METRICS]
    names += [*VARIABLES, *(f"wpsload {name}" for name in cli.commands)]
    assert [name for name in names if name not in README] == []


def test_generated_parts_are_current() -> None:
    """Tables and help texts are those of the code; `make docs` writes them anew."""
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
