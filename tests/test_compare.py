"""The command says of real runs what differs, refuses what is not alike, and has its exit codes."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from locusting import run_locust
from recording import MS, record_of, steady_run
from serving import StandIn

from wpsload.record import to_json
from wpsload.record_file import read_record

LOAD = (
    *("--users", "12", "--spawn-rate", "12", "--run-time", "18s"),
    *("--wps-group-size", "4", "--wps-interval", "100ms", "--wps-payload-bytes", "200"),
    *("--wps-warm-up", "1s", "--wps-verdict", "warn", "--wps-seed", "one"),
)


def compare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What the command says."""
    return subprocess.run(
        [sys.executable, "-m", "wpsload", "compare", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )


def written(folder: Path, name: str, latency_ns: int = 2 * MS, **fields: Any) -> Path:
    """A record in a file."""
    path = folder / f"{name}.json"
    path.write_bytes(to_json(record_of(steady_run(latency_ns=latency_ns), **fields)))
    return path


@pytest.mark.alone
def test_real_pairs(start_stand_in: Callable[..., StandIn], tmp_path: Path) -> None:
    """Runs at one time: of equal services nothing differs, of a slower one the acks do."""
    delays = {"a": "5ms", "b": "5ms", "c": "5ms", "slow": "10ms"}
    stand_ins = {name: start_stand_in("--ack-delay", delay) for name, delay in delays.items()}

    def run(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        environ = {"WPS_CONNECTION_STRING": stand_ins[name].connection_string}
        finished = run_locust("pubsub.py", *LOAD, folder=folder, environ=environ)
        assert finished.code == 0, finished.said
        (path,) = folder.glob("reports/*")
        return path

    with ThreadPoolExecutor(len(delays)) as pool:
        runs = dict(zip(delays, pool.map(run, delays), strict=True))
    condition = ("--fail-on", "sendToGroup.p50>+30%")
    different = []
    for base, new in (("a", "b"), ("b", "c"), ("a", "c")):
        same = compare(runs[base], runs[new], *condition)
        assert same.returncode == 0, same.stdout + same.stderr
        if "no figure differs by more than it varies" not in same.stdout:
            different.append(same.stdout)
    assert len(different) <= 1, "\n".join(different)  # once in 20 comparisons is chance
    for base in ("a", "b", "c"):
        slower = compare(runs[base], runs["slow"], *condition)
        assert slower.returncode == 3, slower.stdout + slower.stderr
        assert "FAILED  sendToGroup.p50>+30%" in slower.stdout
        assert "sendToGroup.p50 higher" in slower.stdout
        assert "rate.sent higher" not in slower.stdout


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Records of two runs, the second of a service that takes half as long again."""
    return written(tmp_path, "base"), written(tmp_path, "new", 3 * MS)


def test_exit_codes(pair: tuple[Path, Path]) -> None:
    """0 whatever differs, unless a condition failed."""
    told = compare(*pair)
    assert told.returncode == 0, told.stderr
    assert "different: sendToGroup.p50 higher, sendToGroup.p99 higher" in told.stdout
    met = compare(*pair, "--fail-on", "sendToGroup.p99>+60%")
    assert met.returncode == 0
    assert "passed  sendToGroup.p99>+60%  +50.0 %" in met.stdout
    failed = compare(
        *pair, "--fail-on", "sendToGroup.p99>+60%", "--fail-on", "sendToGroup.p50>+0.5ms"
    )
    assert failed.returncode == 3
    assert failed.stdout.count("FAILED") == 1
    assert compare(pair[1], pair[0], "--fail-on", "sendToGroup.p99>+10%").returncode == 0


def test_no_telling_fails(pair: tuple[Path, Path]) -> None:
    """What has too few samples is not within any limit."""
    done = compare(*pair, "--fail-on", "delivery.p99>+10%")
    assert done.returncode == 3
    assert "FAILED  delivery.p99>+10%  too few samples: 1\n" in done.stdout


def test_markdown(pair: tuple[Path, Path]) -> None:
    """Tables, each row of as many cells as its heading."""
    done = compare(*pair, "--format", "md", "--fail-on", "sendToGroup.p99>+10%")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert "| sendToGroup.p50 | 2.000 ms | 3.000 ms | +50.0 % |" in done.stdout
    assert any(line.startswith("| **FAILED** | `sendToGroup.p99>+10%` |") for line in lines)
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert set(tables) == {8, 4}
    assert "**HIGHER**" in done.stdout


@pytest.mark.parametrize(
    "condition", ["delivery.p99>10%", "deliveries.p99>+10%", "rate.sent>+5ms", "connect.p99>+1%"]
)
def test_conditions_are_read_first(condition: str, tmp_path: Path) -> None:
    """Before records, which here are not even there."""
    done = compare(tmp_path / "a", tmp_path / "b", "--fail-on", condition)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert condition.partition(">")[0].partition(".")[0] in done.stderr
    assert "cannot read" not in done.stderr


def test_a_record_that_is_not_there(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """It is named."""
    done = compare(pair[0], tmp_path / "missing")
    assert done.returncode == 2
    assert f"error: cannot read {tmp_path / 'missing'}" in done.stderr


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"options": {"wps-drain": "9s"}}, "wps-drain: 5s and 9s"),
        ({"plan": "a message every 2s"}, "plan: "),
        ({"scenario": "other.py"}, "scenario: made-up and other.py"),
        ({"verdict": {"level": "INVALID"}}, "the new run: its verdict is INVALID"),
        ({"state": "running"}, "the new run: it goes on"),
    ],
)
def test_refusals(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    """With the reason, and only until forced; then the reason stands above the figures."""
    paths = written(tmp_path, "base"), written(tmp_path, "new", **fields)
    refused = compare(*paths)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert reason in refused.stderr
    assert "--force" in refused.stderr
    forced = compare(*paths, "--force")
    assert forced.returncode == 0, forced.stderr
    assert f"NOT COMPARABLE: {reason}" in forced.stdout
    assert "sendToGroup.p99" in forced.stdout


def test_a_run_without_a_window(tmp_path: Path) -> None:
    """Forced, it has figures, but no difference can be told."""
    base = written(tmp_path, "base")
    record = read_record(base)
    spans = [one for one in record.spans if one.phase == "connect"]
    short = tmp_path / "short.json"
    short.write_bytes(to_json(replace(record, spans=spans)))
    assert "stopped before its window" in compare(base, short).stderr
    done = compare(base, short, "--force", "--fail-on", "rate.sent<-10%")
    assert done.returncode == 3, done.stderr
    assert "0 of 3 parts of a window" in done.stdout
