"""The steps of a scheduled capacity run, as CI takes them: green, and red with a fault injected."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from locusting import environment
from recording import MS, record_of, steady_run
from serving import DEADLINE_S, ROOT, StandIn

from wpsload.record import to_json

CLIMB = {
    "WPS_LADDER": "20@20/s,20@40/s",
    "WPS_SETTLE": "1s",
    "WPS_MEASURE": "6s",
    "WPS_VERDICT": "off",  # other tests may want the same cores
    "WPS_THRESHOLD": "delivery.p99<300ms; capacity.in>=35/s",
    "WPS_CAPACITY_CLIENTS": "20",
    "WPS_CAPACITY_FAIL_ON": "delivery.p99>+50%",
}
LATE = ("--fault", "delay-delivery:every=5,by=600ms")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the steps are a bash script")


def step(name: str, folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """One step, of a job that keeps everything in `folder`."""
    own = {
        "WPS_CAPACITY_DIR": str(folder),
        "WPS_CAPACITY_BIN": str(Path(sys.executable).parent),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    return subprocess.run(
        [str(ROOT / ".ci" / "capacity"), name],
        env=environment(CLIMB | own | environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=12 * DEADLINE_S,
        check=False,
    )


def climb(stand_in: StandIn, folder: Path) -> tuple[dict[str, int], str]:
    """What each step ended with, and the summary of the job."""
    codes = {
        "tokens": step(
            "tokens", folder, WPS_CONNECTION_STRING=stand_in.connection_string
        ).returncode
    }
    assert (folder / "tokens.jsonl").exists()
    for name in ("run", "report", "compare"):
        done = step(name, folder)
        codes[name] = done.returncode
        assert stand_in.access_key not in done.stdout
        assert "access_token" not in done.stdout
    assert not (folder / "tokens.jsonl").exists()
    for file in ("report.html", "report.md", "report.txt", "junit.xml"):
        assert (folder / "report" / file).stat().st_size > 0
    return codes, (folder / "summary.md").read_text(encoding="utf-8")


def test_green_and_then_red(start_stand_in: Callable[..., StandIn], tmp_path: Path) -> None:
    """The report and the comparison say which measurement moved, and by how much."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    codes, said = climb(start_stand_in("--ack-delay", "1ms"), good)
    assert codes == {"tokens": 0, "run": 0, "report": 0, "compare": 0}, said
    assert "20 connections, 40" in said

    shutil.copytree(good / "runs", bad / "last-good")
    codes, said = climb(start_stand_in("--ack-delay", "1ms", *LATE), bad)
    assert codes == {"tokens": 0, "run": 3, "report": 0, "compare": 3}, said
    for pattern in (  # 600 ms and a little, in the report and beside what it was
        r"delivery.p99<300ms.*FAILED.* [67]\d\d\.\d+ ms",
        r"delivery.p99 .* ms .* [67]\d\d\.\d+ ms .*HIGHER",
        r"FAILED.*delivery.p99>\+50%.*\+\d+",
    ):
        assert re.search(pattern, said), said


def test_a_mistake_is_told(tmp_path: Path) -> None:
    """Without a run there is nothing to report, and a step that is none says what there is."""
    done = step("report", tmp_path)
    assert (done.returncode, "did the run begin" in done.stdout) == (2, True)
    done = step("deploy", tmp_path)
    assert (done.returncode, "usage" in done.stdout) == (2, True)
    assert os.access(ROOT / ".ci" / "capacity", os.X_OK)


def kept(folder: Path, name: str, **fields: Any) -> None:
    """The record of a run, of 2 ms a message unless it says otherwise."""
    path = folder / name / "20260101T000000Z-capacity" / "run.json"
    path.parent.mkdir(parents=True)
    latency_ns = fields.pop("latency_ns", 2 * MS)
    path.write_bytes(to_json(record_of(steady_run(latency_ns=latency_ns), **fields)))


INVALID = {"verdict": {"level": "INVALID"}}


@pytest.mark.parametrize(
    ("good", "new", "code", "said"),
    [
        (None, {}, 0, "no good run was found"),
        ({}, {}, 0, "passed"),
        ({}, {"latency_ns": 3 * MS}, 3, "HIGHER"),
        ({"plan": "another one"}, {}, 0, "not alike: plan: 'another one' and"),
        (INVALID, {}, 0, "the base run: its verdict is INVALID"),
        ({}, INVALID, 2, "the new run: its verdict is INVALID"),
    ],
    ids=["the first", "alike", "slower", "another load", "INVALID before", "INVALID now"],
)
def test_a_last_good_run_that_is_of_no_use_is_replaced(
    good: dict[str, Any] | None, new: dict[str, Any], code: int, said: str, tmp_path: Path
) -> None:
    """By the next one that passes: if that were red, all nights would be, from then on."""
    if good is not None:
        kept(tmp_path, "last-good", **good)
    kept(tmp_path, "runs", **new)
    done = step("compare", tmp_path, WPS_CAPACITY_FAIL_ON="sendToGroup.p99>+20%", TF_BUILD="True")
    assert done.returncode == code, done.stdout
    shown = (tmp_path / "report" / "compare.md").read_text(encoding="utf-8")
    assert said in shown
    assert shown == (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert shown in done.stdout
    assert f"##vso[task.uploadsummary]{tmp_path / 'report' / 'compare.md'}\n" in done.stdout


@pytest.mark.parametrize(
    "condition", ["", "deliveries.p99>+20%", "sendToGroup.p99>+20%\nevent.p50>+20%"]
)
def test_conditions_of_a_night(condition: str, tmp_path: Path) -> None:
    """None, one a line, or a mistake, which is no reason to go without."""
    kept(tmp_path, "last-good")
    kept(tmp_path, "runs")
    done = step("compare", tmp_path, WPS_CAPACITY_FAIL_ON=condition)
    expected = {"": 0, "deliveries.p99>+20%": 2}.get(condition, 3)  # there are no events
    assert done.returncode == expected, done.stdout
    assert done.stdout.count("`sendToGroup.p99>+20%`") == condition.count("sendToGroup")
