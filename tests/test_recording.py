"""Real runs leave a record, however they end, and all that is said of them comes from it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from locusting import Finished, free_port, post, run_locust, running_locust
from serving import DEADLINE_S, StandIn

from wpsload.figures import figures_of
from wpsload.metrics import CONNECT, DELIVERY, JOIN_GROUP, SEND_TO_GROUP
from wpsload.record import Record
from wpsload.record_file import read_record

LOAD = ("--wps-interval", "20ms", "--wps-group-size", "4", "--wps-payload-bytes", "200")
IN_THE_WAY = """
from locust import events

from pathlib import Path

from wpsload.users import PubSubUser


class Idle(PubSubUser):
    pass


@events.test_start.add_listener
def stand_in_the_way(**_):
    for folder in Path("reports").iterdir():
        (folder / "report.html").mkdir()
"""
USERS = ("--users", "8", "--spawn-rate", "8")


def records(folder: Path) -> list[Path]:
    """The records below `folder`, which may not be there yet."""
    return sorted(folder.glob("reports/*/run.json"))


def record_in(folder: Path) -> Record:
    """The only one."""
    (path,) = records(folder)
    assert [one.name for one in path.parent.iterdir() if one.name.endswith(".new")] == []
    return read_record(path)


def report(path: Path, *arguments: str) -> str:
    """What `wpsload report` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "wpsload", "report", str(path), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    return done.stdout


def load(stand_in: StandIn, folder: Path, *arguments: str) -> Finished:
    """Eight users in two groups."""
    return run_locust(
        "pubsub.py",
        *(*USERS, *LOAD, "--run-time", "15s" if "--processes" in arguments else "8s"),
        *arguments,
        folder=folder,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["alone", "two"])
def test_a_finished_run(stand_in: StandIn, tmp_path: Path, processes: tuple[str, ...]) -> None:
    """Its record has what the service counted, and what was printed is in it."""
    finished = load(stand_in, tmp_path, "--wps-warm-up", "1s", *processes)
    assert finished.code == 0, finished.said
    record = record_in(tmp_path)
    assert record.state == "finished"
    stats = stand_in.stats()
    views = figures_of(record)
    assert views.run.metrics[CONNECT].successes == 8
    assert views.run.metrics[DELIVERY].successes == stats["deliveries"]
    acked = sum(views.run.metrics[one].successes for one in (JOIN_GROUP, SEND_TO_GROUP))
    assert acked == stats["acks_total"] == sum(record.series.columns["acked"])
    assert views.window is not None
    assert JOIN_GROUP not in views.window.metrics
    assert 0 < views.window.metrics[SEND_TO_GROUP].successes < acked
    assert [one.name for one in record.phases] == ["connect", "warm-up", "window", "drain"]
    assert record.events[-1].kind == "stop"
    assert len([one for one in record.events if one.kind == "worker joined"]) == len(processes)
    assert report(records(tmp_path)[0].parent) in finished.said
    history = Path(f"{finished.prefix}_pubsub_history.csv").read_text(encoding="utf-8")
    assert report(records(tmp_path)[0], "--format", "csv") == history
    page = records(tmp_path)[0].with_name("report.html")
    assert page.read_text(encoding="utf-8") == report(page.parent, "--format", "html")
    assert f"report: {page.relative_to(tmp_path)}\n" in finished.said


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["alone", "two"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run(
    stand_in: StandIn, tmp_path: Path, number: signal.Signals, processes: tuple[str, ...]
) -> None:
    """Its record is complete, and says that it was broken off."""
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    arguments = ("--headless", *USERS, *LOAD, *processes, "--wps-threshold", "echo.p99<1s")
    with running_locust("pubsub.py", *arguments, folder=tmp_path, environ=environ) as process:
        while stand_in.stats()["acks_total"] < 400:
            assert process.poll() is None
        os.killpg(process.pid, number)
        said, _ = process.communicate(timeout=2 * DEADLINE_S)
    assert process.returncode == 130, said
    record = record_in(tmp_path)
    assert record.state == "interrupted"
    assert figures_of(record).run.metrics[DELIVERY].successes == stand_in.stats()["deliveries"]
    assert "INTERRUPTED" in said


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["alone", "two"])
def test_a_killed_run(stand_in: StandIn, tmp_path: Path, processes: tuple[str, ...]) -> None:
    """Nothing can be said any more, and its record is there, and not old."""
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    arguments = ("--headless", *USERS, *LOAD, *processes)
    with running_locust("pubsub.py", *arguments, folder=tmp_path, environ=environ) as process:
        deadline = time.monotonic() + 6 * DEADLINE_S
        while not records(tmp_path) or record_in_progress(tmp_path) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
        os.killpg(process.pid, signal.SIGKILL)
        killed_s = time.time()  # noqa: TID251  # files have the time of the wall
        process.communicate()
    (path,) = records(tmp_path)
    record = read_record(path)
    assert record.state == "running"
    assert figures_of(record).run.metrics[SEND_TO_GROUP].successes > 0
    assert killed_s - path.stat().st_mtime < 10
    assert "NOT OVER" in report(path)


def record_in_progress(folder: Path) -> float:
    """Seconds that the record of a run knows of."""
    return len(read_record(records(folder)[0]).series.second)


def test_a_missed_threshold(stand_in: StandIn, tmp_path: Path) -> None:
    """Exit code 3, each result in a line, and in the record."""
    finished = load(
        *(stand_in, tmp_path, "--wps-threshold", "delivery.p99<20s"),
        *("--wps-threshold", "loss==0", "--wps-threshold", "echo.p99<1s"),
    )
    assert finished.code == 3, finished.said
    assert [one.passed for one in record_in(tmp_path).thresholds] == [True, True, False]
    assert "FAILED  echo.p99<1s  no data" in finished.said


@pytest.mark.parametrize(
    ("threshold", "code"), [("error_ratio<50%", 0), ("ack.p99<20s", 1), ("failures==0", 3)]
)
@pytest.mark.parametrize(
    "stand_in", [["--fault", "fail-ack:every=10,name=Forbidden"]], indirect=True
)
def test_failed_requests(stand_in: StandIn, tmp_path: Path, threshold: str, code: int) -> None:
    """They fail the run, unless a threshold says how many may."""
    finished = load(stand_in, tmp_path, "--wps-threshold", threshold)
    assert finished.code == code, finished.said


def test_a_run_without_a_record(stand_in: StandIn, tmp_path: Path) -> None:
    """No folder is made, and the summary is there all the same."""
    finished = load(stand_in, tmp_path, "--wps-no-record")
    assert finished.code == 0, finished.said
    assert not (tmp_path / "reports").exists()
    assert not list(tmp_path.rglob("report.html"))
    assert "throughput" in finished.said


def test_a_page_that_cannot_be_written_fails_the_run(stand_in: StandIn, tmp_path: Path) -> None:
    """It is a doubt; the record and the summary are there all the same."""
    scenario = tmp_path / "in_the_way.py"
    scenario.write_text(IN_THE_WAY, encoding="utf-8")
    finished = run_locust(
        scenario,
        *("--users", "1", "--run-time", "2s"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )
    assert finished.code == 1, finished.said
    assert re.search(r"cannot write reports/\S+/report\.html: ", finished.said)
    assert record_in(tmp_path).state == "finished"
    assert "throughput" in finished.said


def test_a_short_run_says_what_it_covers(stand_in: StandIn, tmp_path: Path) -> None:
    """It ended before there was a steady state."""
    finished = load(stand_in, tmp_path, "--wps-warm-up", "1m")
    assert finished.code == 0, finished.said
    assert "no steady state was reached" in finished.said
    assert figures_of(record_in(tmp_path)).window is None


def test_each_run_of_the_page_has_a_record(stand_in: StandIn, tmp_path: Path) -> None:
    """Two runs of one process are two runs."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    arguments = ("--web-port", str(port), *LOAD)
    with running_locust("pubsub.py", *arguments, folder=tmp_path, environ=environ) as process:
        acks = 0
        for _ in range(2):
            start = {"user_count": 4, "spawn_rate": 4, "wps_threshold": "loss==0"}
            start["wps_run_id"] = ""  # as the page sends an empty field
            assert post(f"{page}/swarm", start)["success"]
            while stand_in.stats()["acks_total"] < acks + 200:
                assert process.poll() is None
            assert post(f"{page}/stop", {})["success"]
            acks = stand_in.stats()["acks_total"]
        process.terminate()
        assert process.wait(2 * DEADLINE_S) == 0
    found = [read_record(path) for path in records(tmp_path)]
    assert [one.state for one in found] == ["finished", "finished"]
    assert [one.thresholds[0].passed for one in found] == [True, True]
    total = sum(sum(one.series.columns["acked"]) for one in found)
    assert total == stand_in.stats()["acks_total"]
    runs = {one.options["wps-run-id"] for one in found}
    assert len(runs) == 2
    assert not runs & {"", "0", 0, None}


def test_the_window_waits_until_all_have_joined(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """A connection that is open, but not in its group, has no load yet."""
    stand_in = start_stand_in("--ack-delay", "3s")
    finished = run_locust(
        "pubsub.py",
        *(*USERS, "--run-time", "9s", "--wps-group-size", "4", "--wps-interval", "1s"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )
    record = record_in(tmp_path)
    connect, *_ = record.phases
    assert connect.name == "connect"
    assert connect.length_s >= 3, finished.said
    (span,) = [one for one in record.spans if one.phase == "connect"]
    assert [one.name for one in span.metrics if one.name == "joinGroup"]


BROKEN = """
from wpsload.run import LoadRun
from wpsload.users import PubSubUser

complete = LoadRun.complete_fan_out


def fail_meanwhile(self, *, is_over=False):
    if not is_over:
        raise RuntimeError("broken on purpose")
    complete(self, is_over=is_over)


LoadRun.complete_fan_out = fail_meanwhile


class Member(PubSubUser):
    def on_start(self):
        super().on_start()
        self.join(self.room)
        self.publish(self.room)
"""


def test_bookkeeping_that_breaks_is_a_doubt(stand_in: StandIn, tmp_path: Path) -> None:
    """The load goes on, but nobody would notice what is missing from then on."""
    scenario = tmp_path / "broken.py"
    scenario.write_text(BROKEN, encoding="utf-8")
    finished = run_locust(
        scenario,
        *(*USERS, *LOAD, "--run-time", "4s"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )
    doubt = "a mistake in wpsload ended its bookkeeping: RuntimeError, see the log"
    assert finished.code == 1, finished.said
    assert f"DOUBT: {doubt}" in finished.said
    assert record_in(tmp_path).doubts == [doubt]
    assert finished.counts("ACK", "joinGroup") == (8, 0)
