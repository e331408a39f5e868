"""Whole runs: a starved generator says so and fails, one with time to spare does not."""

import json
import os
from pathlib import Path

import pytest
from locusting import Finished, free_port, on_one_core, post, read, run_locust, running_locust
from serving import DEADLINE_S, StandIn

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="pins processes to a core, as Linux can"
)

OWN_LOAD = ("of a core", "were never sent")
"""Reasons that only the generator's own load can be to blame for."""


def run(stand_in: StandIn, folder: Path, *arguments: str, mode: str = "fail") -> Finished:
    """A short run of the main scenario."""
    return run_locust(
        "pubsub.py",
        *("--run-time", "7s", "--spawn-rate", "500", "--wps-group-size", "1"),
        *("--wps-payload-bytes", "200", *arguments),
        folder=folder,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string, "WPS_VERDICT": mode},
    )


def latencies(finished: Finished) -> str:
    """The row of `sendToGroup` in the summary, below Locust's own tables."""
    # By its words: the columns are as wide as what stands in them.
    return rows_of(finished)[-1]


def rows_of(finished: Finished) -> list[str]:
    """Those that end the run: of two tables of Locust's own, and of the summary."""
    lines = finished.said.splitlines()
    return [line for line in lines if line.split()[:2] == ["ACK", "sendToGroup"]][-3:]


def test_ten_times_too_much_is_invalid(stand_in: StandIn, tmp_path: Path) -> None:
    """It says why, marks each latency, and ends with a code of its own."""
    with on_one_core(is_shared=False):
        finished = run(stand_in, tmp_path, "--users", "100", "--wps-interval", "2ms")
    assert finished.code == 4, finished.said
    assert "INVALID: " in finished.said
    # Other tests may want the same core: then it is late for lack of that.
    assert any(why in finished.said for why in ("start a second worker", "others had it"))
    row = latencies(finished)
    assert row.count("~") + row.count(" -") == 5  # p50, p90, p99, p99.9, max
    assert all("~" in row for row in rows_of(finished))


def test_busy_neighbours_are_found_out(stand_in: StandIn, tmp_path: Path) -> None:
    """The generator would have time enough, were it alone on its core."""
    with on_one_core(is_shared=True):
        finished = run(stand_in, tmp_path, "--users", "200", "--wps-interval", "20ms")
    assert finished.code == 4, finished.said
    assert "others had it" in finished.said
    assert "~" in latencies(finished)


def test_light_load_is_not_to_blame(stand_in: StandIn, tmp_path: Path) -> None:
    """Whatever else goes on here, this generator is not busy; and if it kept up, it passes."""
    finished = run(stand_in, tmp_path, "--users", "5", "--wps-interval", "100ms")
    assert not any(reason in finished.said for reason in OWN_LOAD), finished.said
    if "INVALID" not in finished.said:
        assert finished.code == 0, finished.said
        assert not any("~" in row for row in rows_of(finished))


def test_warning_leaves_the_exit_code_alone(stand_in: StandIn, tmp_path: Path) -> None:
    """However busy a closed loop is."""
    with on_one_core(is_shared=False):
        finished = run(stand_in, tmp_path, "--users", "50", "--wps-interval", "0", mode="warn")
    assert finished.code == 0, finished.said
    assert any(f"{level}: " in finished.said for level in ("VALID", "SUSPECT", "INVALID"))


def test_nobody_looks_if_told_so(stand_in: StandIn, tmp_path: Path) -> None:
    """Then nothing is said about it."""
    finished = run(stand_in, tmp_path, "--users", "1", mode="off")
    assert finished.code == 0, finished.said
    assert not any(word in finished.said for word in ("VALID", "SUSPECT", "send slip"))


def test_each_worker_is_judged(stand_in: StandIn, tmp_path: Path) -> None:
    """Those that are too busy are named."""
    with on_one_core(is_shared=False):
        finished = run(
            stand_in, tmp_path, "--users", "200", "--wps-interval", "5ms", "--processes", "2"
        )
    assert finished.code == 4, finished.said
    assert "- worker 0 (" in finished.said or "- worker 1 (" in finished.said


def test_the_page_shows_it_while_it_runs(stand_in: StandIn, tmp_path: Path) -> None:
    """As a tab, by the means that Locust has for that, and as JSON."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    arguments = ("--web-port", str(port), "--wps-interval", "100ms")
    with running_locust("pubsub.py", *arguments, folder=tmp_path, environ=environ) as process:
        assert post(f"{page}/swarm", {"user_count": 2, "spawn_rate": 2})["success"]
        while not (said := json.loads(read(f"{page}/wpsload/verdict")))["now"].get("this process"):
            assert process.poll() is None
        assert said["run"]["level"] in ("VALID", "SUSPECT", "INVALID")
        tables: list[str] = []
        while "wpsload-verdict" not in tables:  # Locust answers from a cache for two seconds
            assert process.poll() is None
            extended = json.loads(read(f"{page}/stats/requests")).get("extended_stats", [])
            tables = [one["key"] for one in extended if one["data"]]
        assert tables == ["wpsload-verdict"]
        assert b"wpsload-verdict" in read(f"{page}/")
        process.terminate()
        assert process.wait(DEADLINE_S) == 130  # the load was broken off
