"""Whole climbs against a service whose ceiling is known."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from locusting import Finished, environment, on_one_core, run_locust, running_locust
from serving import DEADLINE_S, StandIn

from wpsload.figures import figures_of
from wpsload.metrics import DELIVERY
from wpsload.record import Ladder, Record, from_json

LADDER = "20@20/s,20@40/s,40@80/s"


def climb(
    stand_in: StandIn, folder: Path, *arguments: str, verdict: str = "off", ladder: str = LADDER
) -> tuple[Finished, Record]:
    """A climb with short rungs, and its record."""
    finished = run_locust(
        "capacity.py",
        *("--wps-ladder", ladder, "--wps-settle", "1s", "--wps-measure", "4s"),
        *("--wps-slo", "delivery.p99<1s", "--wps-slo", "loss==0", *arguments),
        folder=folder,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string, "WPS_VERDICT": verdict},
    )
    return finished, record_in(folder)


def record_in(folder: Path) -> Record:
    """The only record there."""
    [path] = folder.glob("reports/*/run.json")
    return from_json(path.read_bytes(), source=str(path))


def ladder_of(record: Record) -> Ladder:
    """What it says of the climb."""
    assert record.ladder is not None
    return record.ladder


@pytest.mark.parametrize(
    ("ceiling_per_s", "held"),
    [(8, 0), (26, 1), (28, 1), (30, 1), (50, 2), (55, 2), (60, 2), (110, 3), (120, 3), (130, 3)],
)
def test_it_finds_the_rung_below_the_ceiling(
    ceiling_per_s: int, held: int, start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """What is offered beyond the ceiling waits longer and longer."""
    stand_in = start_stand_in("--capacity", f"{ceiling_per_s}/s", "--ack-delay", "0s")
    finished, record = climb(stand_in, tmp_path)
    ladder = ladder_of(record)
    assert (ladder.held or 0) == held, finished.said
    assert ladder.ended == ("top" if held == 3 else "missed")
    outcomes = [one.outcome for one in ladder.rungs]
    assert outcomes == ["held"] * held + ["missed"] * (held < 3)
    assert finished.code == (0 if held else 3), finished.said
    if held < 3:
        assert any("delivery.p99<1s" in why for why in ladder.rungs[-1].why)
    if ladder.best is not None:  # what is shown of the run is the rung that held
        shown = figures_of(record)
        assert shown.rates.counts["sent"] / shown.rates.seconds == ladder.best.sent_per_s
        assert (shown.rates.counts["sent"] / shown.rates.seconds) == pytest.approx(
            ladder.best.in_per_s, rel=0.1
        )
        assert shown.window is not None
        p99_ns = shown.window.metrics[DELIVERY].latency.quantile(0.99)
        assert p99_ns is not None
        assert p99_ns < 1_000_000_000


def test_lost_deliveries_miss_the_objective(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Each one that the service dropped is counted, on the rung on which it was."""
    stand_in = start_stand_in("--fault", "drop-delivery:every=50", "--ack-delay", "0s")
    finished, record = climb(stand_in, tmp_path)
    ladder = ladder_of(record)
    assert (ladder.ended, ladder.held, finished.code) == ("missed", None, 3)
    assert ladder.rungs[0].lost == stand_in.stats()["faults"]["drop-delivery"] > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pins processes, as Linux can")
def test_a_weak_generator_is_the_limit(stand_in: StandIn, tmp_path: Path) -> None:
    """It has its core for a fourth of the time: that is never the service's capacity."""
    with on_one_core(is_shared=True):
        finished, record = climb(
            stand_in, tmp_path, verdict="fail", ladder="20@20/s,200@2000/s,200@20000/s"
        )
    ladder = ladder_of(record)
    assert ladder.ended == "generator limit", finished.said
    assert ladder.rungs[-1].outcome == "generator limit"
    assert ladder.rungs[-1].why
    assert finished.code == 4


def test_two_workers_climb_as_one(start_stand_in: Callable[..., StandIn], tmp_path: Path) -> None:
    """The master decides, and both have users of each group."""
    stand_in = start_stand_in("--capacity", "55/s", "--ack-delay", "0s")
    finished, record = climb(stand_in, tmp_path, "--processes", "2")
    ladder = ladder_of(record)
    assert (ladder.ended, ladder.held) == ("missed", 2), finished.said
    assert [one.lost for one in ladder.rungs[:2]] == [0, 0]
    assert stand_in.stats()["connections_total"] == 1 + 40  # and one before the load


def test_a_climb_that_is_broken_off_says_so(stand_in: StandIn, tmp_path: Path) -> None:
    """The rung that it stood on is unfinished."""
    with running_locust(
        "capacity.py",
        *("--headless", "--wps-ladder", "20@20/s", "--wps-measure", "10m"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    ) as process:
        while stand_in.stats()["deliveries"] < 100:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=6 * DEADLINE_S)
    ladder = ladder_of(record_in(tmp_path))
    assert (ladder.ended, ladder.held) == ("stopped", None), said
    assert [one.outcome for one in ladder.rungs] == ["unfinished"]
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--wps-ladder", "15@10/s"), "15 connections do not fill groups of 10"),
        (("--wps-ladder", "20@10"), "'20@10' is no rung"),
        (("--wps-ladder", "20@10/s,10@10/s"), "goes down"),
        (("--wps-interval", "0s"), "each rung of a ladder has its rate"),
        (("--wps-slo", "delivery.p99<1"), "is not the unit of a latency"),
        (("--wps-measure", "1500ms"), "not a whole number of seconds"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """Before any load, without a traceback."""
    finished = run_locust("capacity.py", *arguments, folder=tmp_path)
    assert finished.code == 2, finished.said
    assert message in finished.said
    assert "Traceback" not in finished.said


def test_fewer_tokens_than_connections_are_found_before_the_load(
    stand_in: StandIn, tmp_path: Path
) -> None:
    """As many as the highest rung has are needed."""
    minted = subprocess.run(
        [*(sys.executable, "-m", "wpsload", "tokens"), "--count", "39", "--out", "tokens.jsonl"],
        cwd=tmp_path,
        env=environment({"WPS_CONNECTION_STRING": stand_in.connection_string}),
        check=False,
    )
    assert minted.returncode == 0
    finished = run_locust(
        *("capacity.py", "--wps-ladder", LADDER),
        folder=tmp_path,
        environ={"WPS_TOKENS_FILE": "tokens.jsonl"},
    )
    assert finished.code == 2, finished.said
    assert "39" in finished.said
    assert stand_in.stats()["connections_total"] <= 1
