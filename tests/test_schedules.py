"""Plans in real runs: what was offered is what was sent and what was dropped, to the message."""

from collections.abc import Callable
from pathlib import Path

from locusting import Finished, run_locust
from serving import StandIn

RUN = ("--users", "10", "--spawn-rate", "10", "--wps-payload-bytes", "100", "--wps-no-echo")


def total(finished: Finished, name: str) -> int:
    """The sum of one column of counts."""
    return sum(int(row[f"{name}_per_s"]) for row in finished.rows("pubsub_history"))


def load(stand_in: StandIn, folder: Path, *arguments: str, scenario: str = "pubsub.py") -> Finished:
    """A short run against `stand_in`."""
    return run_locust(
        scenario,
        *RUN,
        *arguments,
        folder=folder,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )


def check(finished: Finished) -> tuple[int, int, int]:
    """Offered, late and dropped, after the books were seen to balance."""
    offered, dropped = total(finished, "offered"), total(finished, "dropped")
    achieved, late = total(finished, "achieved"), total(finished, "late")
    assert offered == achieved + dropped
    assert achieved == finished.counts("ACK", "sendToGroup")[0]
    assert late <= achieved
    assert "open loop" in finished.said
    return offered, late, dropped


def test_a_plan_that_ends_is_carried_out_whole(stand_in: StandIn, tmp_path: Path) -> None:
    """In two processes, with an outage of neither: nothing is dropped."""
    plan = "pause 3s then constant 20/s for 1s then ramp 20/s to 0/s for 1s, then pause 1s"
    finished = load(stand_in, tmp_path, "--run-time", "9s", "--processes", "2", "--wps-plan", plan)
    assert finished.code == 0, finished.said
    offered, _, dropped = check(finished)
    assert dropped == 0
    assert 290 <= offered <= 310  # 30 for each user, give or take one
    assert finished.counts("SERVICE", "sendToGroup.service") == (0, 0)  # Locust would add it up
    [row] = finished.rows("pubsub")
    assert float(row["sendToGroup.service_max_ms"]) <= float(row["sendToGroup_max_ms"])


def test_an_outage_makes_messages_late_and_then_drops_them(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """While a connection is cut its messages wait; those that waited for too long are counted."""
    stand_in = start_stand_in("--fault", "cut:every=150")
    finished = load(
        stand_in,
        tmp_path,
        *("--run-time", "6s", "--wps-plan", "poisson 50/s", "--wps-most-late", "100ms"),
    )
    assert finished.code == 1, finished.said  # connections were lost
    _, late, dropped = check(finished)
    assert stand_in.stats()["faults"]["cut"] > 0
    assert late > 0
    assert dropped > 0


def test_the_closed_loop_is_called_so(stand_in: StandIn, tmp_path: Path) -> None:
    """It offers nothing, so nothing of it can be late."""
    finished = load(stand_in, tmp_path, "--run-time", "3s", "--wps-interval", "0")
    assert finished.code == 0, finished.said
    assert "closed loop: a sender waits" in finished.said
    assert "open loop" not in finished.said
    assert [total(finished, name) for name in ("offered", "achieved", "late", "dropped")] == [0] * 4


def test_a_plan_that_nobody_follows_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    """Simple clients do not publish: better no run than one without its plan."""
    finished = load(
        stand_in, tmp_path, "--run-time", "3s", "--wps-plan", "every 1s", scenario="simple.py"
    )
    assert finished.code == 2
    assert "--wps-plan: nobody in this scenario publishes" in finished.said
    assert "Traceback" not in finished.said


def test_a_wrong_plan_ends_before_the_load(stand_in: StandIn, tmp_path: Path) -> None:
    """One clear line, and exit code 2."""
    finished = load(stand_in, tmp_path, "--run-time", "3s", "--wps-plan", "every 1s then faster")
    assert finished.code == 2
    assert "--wps-plan: phase 1 of the plan, 'every 1s', has no end" in finished.said
    assert "Traceback" not in finished.said
