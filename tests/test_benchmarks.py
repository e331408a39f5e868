"""The benchmarks still run and still notice cheating; how fast anything is, is not judged here."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from serving import DEADLINE_S, ROOT

from benchmarks import report
from benchmarks.generators import CClient, PlainUser, Work
from benchmarks.playing import play
from benchmarks.results import Played, Results
from benchmarks.rows import CONTESTS, ROWS, Contest, Row, Side

CLOSED = Contest("closed loop", {})
FEW = Work(connections=20)
ROW = Row("closed loop", "closed", "paced", "plain Locust", "rate", 4.5, 6)


@dataclasses.dataclass(frozen=True, slots=True)
class Boaster(CClient):
    """Claims one message too many."""

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """One more than it was."""
        return CClient.claimed(self, work, said, folder) + work.connections + 1


def measured(contest: Contest, side: Side) -> Played:
    """A side, played for a moment."""
    played = play(contest, side, warm_up_s=0, window_s=0.5)
    assert played.problem is None
    return played


def test_a_c_client_against_the_sink() -> None:
    """Both programs build, and agree on hundreds of acks."""
    played = measured(CLOSED, Side(CClient(), FEW))
    assert played.per_s > 200
    assert played.cpu_us > 0


def test_the_c_client_keeps_a_pace() -> None:
    """A message each 20 ms on each connection, no more; it says how late they were."""
    played = measured(CLOSED, Side(CClient(), dataclasses.replace(FEW, interval_s=0.02)))
    assert 500 < played.per_s < 1100
    assert played.slip_ms is not None
    assert played.slip_ms >= 0


def test_plain_locust_users_against_the_sink() -> None:
    """The baseline of the table does its work, encrypted too."""
    work = dataclasses.replace(FEW, is_tls=True)
    assert measured(CLOSED, Side(PlainUser("Sender"), work)).per_s > 0


def test_pushed_messages_are_all_counted() -> None:
    """A receiver has read everything that was pushed; the sink speaks the stamps of `wpsload`."""
    contest = Contest("receive", {}, counted="delivered", burst=4)
    assert measured(contest, Side(PlainUser("Receiver", "group"), FEW)).per_s > 0


def test_the_stand_in_against_the_c_client() -> None:
    """The stand-in's own counts are understood."""
    contest = Contest("stand-in", {}, is_stand_in=True)
    assert measured(contest, Side(CClient(), FEW)).per_s > 200


def test_a_claim_that_the_server_does_not_share_is_a_problem() -> None:
    """Who claims more than the server has answered gives no figure."""
    played = play(CLOSED, Side(Boaster(), FEW), warm_up_s=0, window_s=0.1)
    assert played.problem is not None
    assert "the server counted" in played.problem


def test_a_generator_that_ends_is_a_problem() -> None:
    """A side that fails is reported with its last words, and does not stop the others."""
    played = play(CLOSED, Side(PlainUser("Nobody"), FEW), warm_up_s=0, window_s=0.1)
    assert played.problem is not None
    assert "Nobody" in played.problem


def test_ending_the_benchmark_ends_what_it_started() -> None:
    """After SIGTERM neither server nor generator runs on."""
    command = [sys.executable, "-m", "benchmarks.bench", "--only", "closed", "--side", "C client"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "closed 1: C client" in process.stderr.readline()
        children: list[psutil.Process] = []
        while len(children) < 2:  # the next round begins
            children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(children, timeout=DEADLINE_S)
    assert not alive


def results(*rounds: dict[str, Played]) -> Results:
    """Results of one contest."""
    return Results(window_s=2, rounds={"closed": list(rounds)})


def cells(found: Results, row: Row = ROW) -> list[str]:
    """The cells of a row, as rendered."""
    (line,) = (
        line
        for line in report.render(found, [row]).splitlines()
        if line.startswith(f"| {row.work} |")
    )
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("ours_per_s", "said"), [(60, "goal met"), (50, "gate met"), (44, "**gate not met**")]
)
def test_a_row_says_what_it_reached(ours_per_s: float, said: str) -> None:
    """The median ratio decides."""
    rounds = [
        {"paced": Played(per_s=per_s, cpu_us=2), "plain Locust": Played(per_s=10, cpu_us=9)}
        for per_s in (1, ours_per_s, 100)
    ]
    *_, measured, beside, count, verdict = cells(results(*rounds))
    assert measured == f"{ours_per_s / 10:.3g} (0.1 to 10)"
    assert beside == "CPU each: 4.5 (4.5 to 4.5)"
    assert count == "3 of 3"
    assert verdict == said


def test_what_has_to_be_small_is_compared_the_other_way() -> None:
    """Memory and growth hold if they are at most the gate."""
    row = dataclasses.replace(ROW, figure="memory", gate=0.5, goal=0.25)
    found = results({"paced": Played(kib=4), "plain Locust": Played(kib=10)})
    assert cells(found, row)[-1] == "gate met"


def test_what_has_no_gate_is_for_comparison() -> None:
    """It can be neither met nor missed."""
    row = dataclasses.replace(ROW, figure="slip", gate=None, goal=None)
    found = results({"paced": Played(slip_ms=42), "plain Locust": Played(per_s=10)})
    assert cells(found, row)[3:6] == ["", "", "42 (42 to 42)"]
    assert cells(found, row)[-1] == "for comparison"


def test_spoiled_rounds_do_not_count() -> None:
    """Foreign load takes a round out; if there was no calm one, the row says so."""
    plain = Played(per_s=10, cpu_us=9)
    calm = {"paced": Played(per_s=60, cpu_us=2), "plain Locust": plain}
    spoiled = {"paced": Played(per_s=10, cpu_us=2, alien=0.5), "plain Locust": plain}
    assert cells(results(calm, spoiled))[-2:] == ["1 of 2", "goal met"]
    assert cells(results(spoiled))[-1] == "**gate not met**, foreign load in every round"


def test_what_could_not_be_measured_is_named() -> None:
    """A peer that is missing, and a side with a problem, are in the report with the reason."""
    found = results({"paced": Played(problem="it fell over"), "plain Locust": Played(per_s=10)})
    assert cells(found)[-1] == "**not measured**: see problems"
    assert "closed, round 1, paced: it fell over" in report.render(found)
    found.missing["plain Locust"] = "out of stock"
    assert cells(found)[-1] == "**not measured**: plain Locust: out of stock"


def test_every_row_is_in_the_report_and_names_sides_that_exist() -> None:
    """No row is left out because there is nothing to say."""
    text = report.render(Results(window_s=2))
    assert text.count("**not measured**") == len(ROWS)
    for row in ROWS:
        assert {row.ours, row.theirs} <= {*CONTESTS[row.contest].sides, None}


def test_results_survive_their_file(tmp_path: Path) -> None:
    """What is read is what was written."""
    found = results({"paced": Played(per_s=60, problem="none really")})
    found.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == found
