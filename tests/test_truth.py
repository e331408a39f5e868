"""The number is true: against a service whose truth is known, reported is what happened.

Each run has a stand-in that does something known, and keeps its own books. All users are in their
groups before the first message is due and the plan is over before they leave, so that nothing is
under way at an edge: counts have to be equal, to the message.
"""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from locusting import Finished, run_locust, running_locust
from serving import StandIn

from wpsload.figures import figures_of
from wpsload.metrics import (
    CONNECT,
    CONNECTION_LOST,
    DELIVERY,
    GROUP_FIRST,
    GROUP_LAST,
    JOIN_GROUP,
    SEND_TO_GROUP,
    SEND_TO_GROUP_SERVICE,
    Metric,
)
from wpsload.record import Record, from_json
from wpsload.recorder import Measured
from wpsload.units import NS_PER_MS, NS_PER_S

USERS = 20
GROUP = 10
RATE_PER_S = 20
LOAD_S = 4
PLAN = f"pause 4s then constant {RATE_PER_S}/s for {LOAD_S}s then pause 1s"
SENT = USERS * RATE_PER_S * LOAD_S


@dataclass(frozen=True, slots=True)
class Reported:
    """What a run says of itself."""

    finished: Finished
    record: Record

    @property
    def books(self) -> dict[str, Any]:
        """The ledger."""
        assert self.record.ledger is not None
        return self.record.ledger

    def of(self, metric: Metric) -> Measured:
        """One metric, over the whole run."""
        return figures_of(self.record).run.metrics[metric]

    def quantile_ms(self, metric: Metric, q: float) -> float:
        """A quantile of its latency."""
        value_ns = self.of(metric).latency.quantile(q)
        assert value_ns is not None
        return value_ns / NS_PER_MS


def load(
    stand_in: StandIn, folder: Path, *arguments: str, plan: str = PLAN, environ: Any = None
) -> Reported:
    """A run of the main scenario, and its record."""
    finished = run_locust(
        "pubsub.py",
        *("--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", "11s"),
        *("--wps-group-size", str(GROUP), "--wps-payload-bytes", "200", "--wps-plan", plan),
        *arguments,
        folder=folder,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string, **(environ or {})},
    )
    [path] = folder.glob("reports/*/run.json")
    return Reported(finished, from_json(path.read_bytes(), source=str(path)))


def check_books(reported: Reported, stand_in: StandIn, *, plan_count: int = SENT) -> None:
    """Whatever happened: the books balance, and agree with those of the service."""
    books, truth = reported.books, stand_in.stats()
    assert abs(books["sent"] - plan_count) <= USERS  # each sender's plan, give or take one
    assert books["in_flight"] == 0
    outcomes = ("acknowledged", "timed_out", "lost", "unanswered")
    assert books["sent"] == sum(books[name] for name in outcomes) + sum(books["rejected"].values())
    assert books["expected"] == books["delivered"] + books["missing"]
    assert books["delivered"] + books["duplicated"] == truth["deliveries"]
    assert reported.of(DELIVERY).successes == truth["deliveries"]


def test_nothing_happens(stand_in: StandIn, tmp_path: Path) -> None:
    """The calm run that all others are compared with."""
    reported = load(stand_in, tmp_path)
    check_books(reported, stand_in)
    books = reported.books
    assert books["acknowledged"] == books["sent"]
    assert books["delivered"] == books["sent"] * GROUP
    assert [books[name] for name in ("missing", "duplicated", "out_of_order", "loss")] == [0] * 4
    assert reported.finished.code == 0, reported.finished.said
    # One message in 16 is followed to its last member.
    first, last = reported.of(GROUP_FIRST), reported.of(GROUP_LAST)
    assert first.count == last.count
    assert abs(first.count - SENT // 16) <= USERS
    assert first.latency.sum_ns <= last.latency.sum_ns
    assert (last.latency.max_ns or 0) <= (reported.of(DELIVERY).latency.max_ns or 0)


def test_two_workers_have_the_same_books(stand_in: StandIn, tmp_path: Path) -> None:
    """Groups are spread over both: who sends and who receives are in different processes."""
    reported = load(stand_in, tmp_path, "--processes", "2")
    check_books(reported, stand_in)
    assert reported.books["delivered"] == reported.books["sent"] * GROUP
    assert reported.books["missing"] == 0


def test_two_runs_on_one_hub_tell_their_messages_apart(stand_in: StandIn, tmp_path: Path) -> None:
    """The same groups at the same time: what the other run sends is counted, and in no books."""
    folders = [tmp_path / "0", tmp_path / "1"]  # named like the runs
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        one, other = pool.map(
            lambda folder: load(stand_in, folder, "--wps-run-id", folder.name), folders
        )
    sent = [each.books["sent"] for each in (one, other)]
    assert stand_in.stats()["deliveries"] == sum(sent) * 2 * GROUP
    for run, reported, foreign in zip("01", (one, other), reversed(sent), strict=True):
        assert reported.record.options["wps-run-id"] == run
        assert figures_of(reported.record).run.counts["foreign"] == foreign * GROUP
        assert reported.books["delivered"] == reported.books["sent"] * GROUP
        assert reported.books["missing"] == 0
        assert reported.of(DELIVERY).latency.count == reported.books["delivered"]
        assert "messages of other runs came" in reported.finished.said


def test_acks_that_are_dropped_are_timeouts(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Every 100th: the messages were carried out, and nobody says so."""
    stand_in = start_stand_in("--fault", "drop-ack:every=100")
    reported = load(stand_in, tmp_path, "--wps-ack-timeout", "1s")
    check_books(reported, stand_in)
    dropped = stand_in.stats()["faults"]["drop-ack"]
    joins = reported.of(JOIN_GROUP).failures.get("Timeout", 0)
    assert dropped > 10
    assert reported.books["timed_out"] + joins == dropped
    assert reported.books["missing"] == 0  # whether they were to be delivered nobody can say
    assert reported.books["delivered"] == reported.books["sent"] * GROUP
    assert reported.books["loss"] == reported.books["timed_out"]


def test_messages_that_are_refused_are_rejected(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """By the name of the error; nobody waits for their delivery."""
    stand_in = start_stand_in("--fault", "fail-ack:every=100,name=Forbidden")
    reported = load(stand_in, tmp_path)
    check_books(reported, stand_in)
    refused = stand_in.stats()["faults"]["fail-ack"]
    joins = reported.of(JOIN_GROUP).failures.get("Forbidden", 0)
    assert refused > 10
    assert reported.books["rejected"] == {"Forbidden": refused - joins}
    assert reported.books["missing"] == 0
    assert reported.books["delivered"] == (reported.books["sent"] - refused + joins) * GROUP


def test_deliveries_that_are_dropped_are_missing(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Acknowledged to the sender, and kept from one member: nothing else would notice.

    51 and the 10 members of a group have no common divisor, so that each of them is struck.
    """
    stand_in = start_stand_in("--fault", "drop-delivery:every=51")
    reported = load(stand_in, tmp_path, "--wps-threshold", "loss==0")
    check_books(reported, stand_in)
    dropped = stand_in.stats()["faults"]["drop-delivery"]
    assert dropped > 100
    assert reported.books["missing"] == reported.books["loss"] == dropped
    assert reported.books["delivered"] == reported.books["sent"] * GROUP - dropped
    assert reported.finished.code == 3, reported.finished.said  # loss==0 was asked for
    assert f"FAILED  loss==0  {dropped}" in reported.finished.said


def test_connections_that_are_cut_lose_what_was_under_way(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Each lost message, and no other, is lost with its connection; users come back."""
    stand_in = start_stand_in("--fault", "cut:every=200")
    reported = load(stand_in, tmp_path, "--wps-most-late", "30s")
    books, truth = reported.books, stand_in.stats()
    cut = truth["faults"]["cut"]
    assert cut > 3
    assert truth["closed"]["1006"] == cut
    assert books["in_flight"] == 0
    assert books["sent"] == books["acknowledged"] + books["lost"]
    assert books["lost"] >= cut  # the one that was read, and what was behind it
    assert books["acknowledged"] == truth["acks"]["success"] - reported.of(JOIN_GROUP).successes
    assert reported.of(DELIVERY).successes <= truth["deliveries"]  # the cut took some along
    assert books["missing"] == 0


def check_quantiles(reported: Reported, expected_ms: dict[float, float]) -> None:
    """Latency is what the service took, and what a busy machine of tests may add: not less, and not
    a multiple of it."""
    for q, took_ms in expected_ms.items():
        measured_ms = reported.quantile_ms(SEND_TO_GROUP, q)
        assert took_ms * 0.996 <= measured_ms <= took_ms + 8, (q, measured_ms)


@pytest.mark.alone
def test_a_constant_time_is_reported(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """5 ms for each ack, at the median and before it."""
    reported = load(start_stand_in("--ack-delay", "5ms"), tmp_path)
    check_quantiles(reported, {0.1: 5, 0.5: 5})


@pytest.mark.alone
def test_two_times_are_both_reported(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """2 ms, and 50 ms for one ack in ten: each quantile is of the one or the other."""
    stand_in = start_stand_in("--ack-delay", "2ms", "--fault", "delay-ack:every=10,by=48ms")
    reported = load(stand_in, tmp_path)
    check_books(reported, stand_in)
    check_quantiles(reported, {0.1: 2, 0.5: 2, 0.8: 2, 0.92: 50, 0.95: 50})
    slow = stand_in.stats()["faults"]["delay-ack"]
    latency = reported.of(SEND_TO_GROUP).latency
    reported_slow = sum(count for value_ns, count in latency.values() if value_ns > 45 * NS_PER_MS)
    assert (
        abs(reported_slow - slow) <= 0.05 * slow + USERS // 10 + 1
    )  # acks of joining are late too


def test_deliveries_that_come_twice_are_duplicated(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Every 50th, to one member."""
    stand_in = start_stand_in("--fault", "duplicate-delivery:every=50")
    reported = load(stand_in, tmp_path)
    check_books(reported, stand_in)
    books = reported.books
    assert books["duplicated"] == stand_in.stats()["faults"]["duplicate-delivery"] > 100
    assert books["delivered"] == books["sent"] * GROUP
    assert books["missing"] == books["out_of_order"] == 0


def test_deliveries_that_are_overtaken_are_out_of_order(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Every 50th is written behind the next one of its sender; none is missing."""
    stand_in = start_stand_in("--fault", "reorder-delivery:every=50")
    reported = load(stand_in, tmp_path)
    check_books(reported, stand_in)
    books, truth = reported.books, stand_in.stats()
    held = truth["faults"]["reorder-delivery"]
    assert held > 100
    assert books["delivered"] == books["sent"] * GROUP
    assert books["missing"] == books["duplicated"] == 0
    assert books["out_of_order"] == held


def test_a_tenth_of_the_connections_is_cut(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """At once: they come back, and the books of those that stayed are whole."""
    stand_in = start_stand_in("--fault", "cut-connections:after=5s,share=10%")
    reported = load(stand_in, tmp_path)
    books, truth = reported.books, stand_in.stats()
    assert truth["closed"]["1006"] == USERS // 10
    lost = reported.of(CONNECTION_LOST)
    assert lost.failure_count == USERS // 10
    assert reported.of(CONNECT).successes == USERS + USERS // 10
    assert books["in_flight"] == 0
    assert books["sent"] == books["acknowledged"] + books["lost"]
    assert books["acknowledged"] == truth["acks"]["success"] - reported.of(JOIN_GROUP).successes
    assert books["missing"] == books["duplicated"] == 0
    assert books["expected"] == books["delivered"]
    events = [(one.kind, one.text.split()[0]) for one in reported.record.events]
    assert ("connections lost", str(USERS // 10)) in events
    assert sum(int(count) for kind, count in events if kind == "reconnected") == USERS // 10


STALL = ("--fault", "stall:after=6s,for=1s")  # of the first connection; the plan is under way then
LONG_PLAN = "pause 4s then constant 20/s for 12s then pause 1s"


def check_stall(measured: Measured) -> None:
    """A second in which nothing is answered is in the latencies of all that was due in it.

    Arrivals are even, so that a message that was due a share of the way through the stall waited
    for the rest of it: half of those of the stall for more than half a second.
    """
    expected = USERS * RATE_PER_S  # that were due in that second
    latency = measured.latency
    slow = sum(count for value_ns, count in latency.values() if value_ns > NS_PER_S / 2)
    assert 0.4 * expected <= slow <= 0.75 * expected, slow
    some = sum(count for value_ns, count in latency.values() if value_ns > NS_PER_S / 10)
    assert some >= 0.8 * expected, some
    assert latency.max_ns is not None
    assert latency.max_ns >= 0.9 * NS_PER_S


@pytest.mark.alone
def test_a_stall_counts_from_due(start_stand_in: Callable[..., StandIn], tmp_path: Path) -> None:
    """Coordinated omission: the load does not wait for the service, and neither does the clock."""
    stand_in = start_stand_in(*STALL)
    reported = load(stand_in, tmp_path, "--run-time", "20s", plan=LONG_PLAN)
    check_books(reported, stand_in, plan_count=USERS * RATE_PER_S * 12)
    check_stall(reported.of(SEND_TO_GROUP))


CLOSED = '''
import gevent
from wpsload.users import PubSubUser

class Waiting(PubSubUser):
    """Sends again when the answer is in, at the same pace: what most generators do."""

    def on_start(self):
        super().on_start()
        while not self.join(self.room).is_success:
            self.wait()
        gevent.spawn(self.go_on)

    def go_on(self):
        gevent.sleep(4)
        for _ in range(12 * 20):
            self.send_to_group(self.room)
            gevent.sleep(1 / 20)
'''


def test_the_check_of_the_stall_can_fail(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """A load that waits for the answer before hides the stall: the check must not pass then."""
    stand_in = start_stand_in(*STALL)
    scenario = tmp_path / "waiting.py"
    scenario.write_text(CLOSED, encoding="utf-8")
    finished = run_locust(
        scenario,
        *("--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", "20s"),
        *("--wps-group-size", str(GROUP), "--wps-payload-bytes", "200"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )
    [path] = tmp_path.glob("reports/*/run.json")
    reported = Reported(finished, from_json(path.read_bytes(), source=str(path)))
    assert (reported.of(SEND_TO_GROUP).latency.max_ns or 0) > 0.9 * NS_PER_S  # it was there
    with pytest.raises(AssertionError):
        check_stall(reported.of(SEND_TO_GROUP))


@pytest.mark.alone
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_latency_counts_from_due_and_not_from_sent(stand_in: StandIn, tmp_path: Path) -> None:
    """The generator itself freezes for a second: what was due then is sent late, and says so.

    Service time is what latency would be if it counted from when a message was sent. The very check
    that response time passes has to fail on it.
    """
    arguments = (
        *("--headless", "--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", "20s"),
        *("--wps-group-size", str(GROUP), "--wps-payload-bytes", "200", "--wps-plan", LONG_PLAN),
    )
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    with running_locust("pubsub.py", *arguments, folder=tmp_path, environ=environ) as process:
        while stand_in.stats()["requests"].get("sendToGroup", 0) < 2 * USERS * RATE_PER_S:
            assert process.poll() is None  # until the plan has been under way for two seconds
        process.send_signal(signal.SIGSTOP)
        threading.Event().wait(1)  # what is tested is time itself
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate()
    [path] = tmp_path.glob("reports/*/run.json")
    record = from_json(path.read_bytes(), source=str(path))
    reported = Reported(Finished(process.returncode, said, tmp_path), record)
    check_books(reported, stand_in, plan_count=USERS * RATE_PER_S * 12)
    check_stall(reported.of(SEND_TO_GROUP))
    with pytest.raises(AssertionError):
        check_stall(reported.of(SEND_TO_GROUP_SERVICE))
    assert record.verdict is not None
    assert record.verdict["level"] != "VALID"  # a generator that was late says so
