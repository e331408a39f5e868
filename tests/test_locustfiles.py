"""The scenarios against a real stand-in: what they report is what the stand-in counted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from locusting import LOCUSTFILES, Finished, run_locust
from serving import StandIn

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


def test_scenarios_are_short() -> None:
    """A scenario is an example too: at most 60 lines."""
    for path in LOCUSTFILES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name


def test_the_token_can_travel_in_a_header(stand_in: StandIn, tmp_path: Path) -> None:
    """With `--wps-token-in header` the service accepts the users just the same."""
    finished = load(stand_in, tmp_path, "--wps-token-in", "header")
    assert finished.code == 0, finished.said
    assert finished.counts("CONNECT", "connect") == (12, 0)
