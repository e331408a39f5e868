"""The scenarios against a real stand-in: what they report is what the stand-in counted."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from locusting import LOCUSTFILES, Finished, command, environment, run_locust
from serving import DEADLINE_S, StandIn

from wpsload.pubsub_csv import COLUMNS

RUN = ("--users", "12", "--spawn-rate", "12", "--run-time", "4s")
FAST = ("--wps-interval", "50ms", "--wps-group-size", "4", "--wps-payload-bytes", "200")


def load(stand_in: StandIn, folder: Path, *arguments: str, scenario: str = "pubsub.py") -> Finished:
    """A short run against `stand_in`."""
    return run_locust(
        scenario,
        *RUN,
        *FAST,
        *arguments,
        folder=folder,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )


def acks(finished: Finished) -> int:
    """Acks that the run reports, refusals included."""
    return sum(finished.counts("ACK", name)[0] for name in ("joinGroup", "sendToGroup"))


def test_a_clean_run_reports_exactly_what_the_service_counted(
    stand_in: StandIn, tmp_path: Path
) -> None:
    """Not one ack or delivery more or less than the stand-in wrote, and exit code 0."""
    finished = load(stand_in, tmp_path)
    assert finished.code == 0, finished.said
    stats = stand_in.stats()
    assert finished.counts("CONNECT", "connect") == (12, 0)
    assert acks(finished) == stats["acks_total"]
    assert stats["acks"] == {"success": stats["acks_total"]}
    assert finished.counts("DELIVERY", "group") == (stats["deliveries"], 0)
    assert stats["deliveries"] > 200
    assert stats["connections_open"] == 0
    assert stats["closed"] == {"1000": stats["connections_total"]}
    assert "Traceback" not in finished.said


def test_two_processes_report_exactly_what_the_service_counted(
    stand_in: StandIn, tmp_path: Path
) -> None:
    """With `--processes` the workers' last samples are not lost, and no user id is used twice."""
    finished = load(stand_in, tmp_path, "--processes", "2")
    assert finished.code == 0, finished.said
    stats = stand_in.stats()
    assert finished.counts("CONNECT", "connect") == (12, 0)
    assert acks(finished) == stats["acks_total"]
    assert finished.counts("DELIVERY", "group") == (stats["deliveries"], 0)


def test_echoes_are_counted_exactly(stand_in: StandIn, tmp_path: Path) -> None:
    """The simple scenario reports the echoes that the stand-in wrote."""
    finished = load(stand_in, tmp_path, scenario="simple.py")
    assert finished.code == 0, finished.said
    stats = stand_in.stats()
    assert finished.counts("ECHO", "message") == (stats["echoes"], 0)
    assert stats["echoes"] > 200


def test_without_an_answer_there_is_a_timeout(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """An application that swallows messages shows as timeouts, never as silence."""
    stand_in = start_stand_in("--upstream", "none")
    finished = load(stand_in, tmp_path, "--wps-ack-timeout", "500ms", scenario="simple.py")
    assert finished.code == 1
    requests, failed = finished.counts("ECHO", "message")
    assert requests == failed == stand_in.stats()["simple_messages_in"]
    texts = {text for _, text in finished.failures()}
    assert texts <= {"Timeout", "unanswered at stop"}


@pytest.mark.parametrize(
    ("fault", "row", "text"),
    [
        ("fail-ack:every=10,name=InternalServerError", "sendToGroup", "InternalServerError"),
        ("fail-ack:every=10,name=Forbidden", "sendToGroup", "Forbidden"),
        ("refuse-connect:every=4,status=503", "connect", "HTTP 503"),
    ],
)
def test_failures_reported_are_those_injected(
    start_stand_in: Callable[..., StandIn], tmp_path: Path, fault: str, row: str, text: str
) -> None:
    """Each injected failure is one reported failure, under the service's own name for it."""
    stand_in = start_stand_in("--fault", fault)
    finished = load(stand_in, tmp_path)
    assert finished.code == 1, finished.said
    injected = stand_in.stats()["faults"][fault.partition(":")[0]]
    assert injected > 0
    reported = {name: count for (name, said), count in finished.failures().items() if said == text}
    # a refused first connection is met by the probe before the run, which only mentions it
    assert sum(reported.values()) == injected
    assert row in reported


def test_dropped_acks_are_timeouts(start_stand_in: Callable[..., StandIn], tmp_path: Path) -> None:
    """An ack that never comes is a failure of its request, one for one."""
    stand_in = start_stand_in("--fault", "drop-ack:every=10")
    finished = load(stand_in, tmp_path, "--wps-ack-timeout", "300ms", "--wps-drain", "1s")
    assert finished.code == 1, finished.said
    failed = sum(
        count
        for (_, text), count in finished.failures().items()
        if text in ("Timeout", "unanswered at stop")
    )
    assert failed == stand_in.stats()["faults"]["drop-ack"]
    assert acks(finished) - failed == stand_in.stats()["acks_total"]


def test_a_cut_connection_is_a_failure_and_comes_back(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Each cut is one lost connection; the users reconnect, join again and go on."""
    stand_in = start_stand_in("--fault", "cut:every=50")
    finished = load(stand_in, tmp_path)
    assert finished.code == 1, finished.said
    cuts = stand_in.stats()["faults"]["cut"]
    assert cuts > 1
    assert finished.failures()["connection.lost", "closed 1006"] == cuts
    connects, failed = finished.counts("CONNECT", "connect")
    assert failed == 0
    assert 12 < connects <= 12 + cuts


def test_failures_have_no_time(start_stand_in: Callable[..., StandIn], tmp_path: Path) -> None:
    """A service that refuses in no time does not look fast: Locust's percentiles stay empty."""
    stand_in = start_stand_in("--fault", "fail-ack:every=1,name=Forbidden")
    finished = load(stand_in, tmp_path)
    (row,) = (row for row in finished.rows("stats") if row["Name"] == "joinGroup")
    assert int(row["Request Count"]) == int(row["Failure Count"]) > 0
    assert float(row["Average Response Time"]) == 0
    assert float(row["50%"]) == 0


def test_a_run_that_measured_nothing_fails(tmp_path: Path) -> None:
    """No data is a failure, never a pass."""
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        port = black_hole.getsockname()[1]
        finished = run_locust(
            "pubsub.py",
            *("--users", "2", "--run-time", "2s", "--wps-connect-timeout", "3s"),
            folder=tmp_path,
            environ={
                "WPS_CONNECTION_STRING": f"Endpoint=http://127.0.0.1:{port};AccessKey={'k' * 32};"
            },
        )
    assert finished.code == 1, finished.said
    assert "unfinished at stop" in finished.said or "nothing was measured" in finished.said


def test_locust_can_write_json_too(stand_in: StandIn, tmp_path: Path) -> None:
    """`--json` has standard output for itself, and the CSV files still hold the figures."""
    done = subprocess.run(
        command("pubsub.py", "--headless", "--json", "--csv", "run", *RUN, *FAST),
        cwd=tmp_path,
        env=environment({"WPS_CONNECTION_STRING": stand_in.connection_string}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=6 * DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {row["name"] for row in json.loads(done.stdout)} >= {"connect", "sendToGroup", "group"}
    assert "files: run_*.csv" in done.stderr
    finished = Finished(done.returncode, done.stderr, tmp_path / "run")
    assert acks(finished) == stand_in.stats()["acks_total"]


def test_a_full_disk_is_said_and_fails_the_run(stand_in: StandIn, tmp_path: Path) -> None:
    """What can no longer be written is named in a line, and whole rows are in the file."""
    bytes_of_two_rows = len(",".join(COLUMNS)) + 600
    limit = (
        "import resource, runpy, sys; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_of_two_rows}, {bytes_of_two_rows})); "
    )
    run = "sys.argv[0] = 'locust'; runpy.run_module('locust', run_name='__main__')"
    done = subprocess.run(
        [
            *(sys.executable, "-c", limit + run),
            *command("pubsub.py", "--headless", "--csv", "run", *RUN, *FAST)[3:],
            *("--run-time", "8s"),
        ],
        cwd=tmp_path,
        env=environment({"WPS_CONNECTION_STRING": stand_in.connection_string}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=6 * DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "cannot write run_pubsub_history.csv: File too large" in done.stdout
    assert "Traceback" not in done.stdout
    header, *rows = (tmp_path / "run_pubsub_history.csv").read_text(encoding="utf-8").splitlines()
    assert {row.count(",") for row in rows} <= {header.count(",")}


def test_default_folder_is_the_runs_own(stand_in: StandIn, tmp_path: Path) -> None:
    """Without `--csv` each run makes a folder for itself, even two that start together."""
    environ = environment({"WPS_CONNECTION_STRING": stand_in.connection_string})
    arguments = command("simple.py", "--headless", "--run-time", "3s")
    runs = [
        subprocess.Popen(arguments, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [run.wait(6 * DEADLINE_S) for run in runs] == [0, 0]
    folders = list((tmp_path / "reports").iterdir())
    assert len(folders) == 2
    assert all((folder / "locust_pubsub.csv").exists() for folder in folders)


def test_scenarios_are_short() -> None:
    """A scenario is an example too: at most 60 lines."""
    for path in LOCUSTFILES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name


def test_the_token_can_travel_in_a_header(stand_in: StandIn, tmp_path: Path) -> None:
    """With `--wps-token-in header` the service accepts the users just the same."""
    finished = load(stand_in, tmp_path, "--wps-token-in", "header")
    assert finished.code == 0, finished.said
    assert finished.counts("CONNECT", "connect") == (12, 0)
