"""A rung is judged from its own samples: it held, it missed, or the generator was the limit."""

from dataclasses import replace
from typing import Any

import pytest
from recording import MS, START, record_of

from wpsload.ladder import Step
from wpsload.metrics import DELIVERY, SEND_TO_GROUP, Sample
from wpsload.record import Rung
from wpsload.recorder import Recorder
from wpsload.rungs import Surroundings, judged
from wpsload.thresholds import parse_all
from wpsload.verdict import Level, Reason, Verdict

OBJECTIVE = parse_all("delivery.p99<1s; loss==0")
STEP = Step(20, 100.0)
CALM = Surroundings(
    members=10, ready=20, duplicated=0, missing=0, verdict=Verdict(Level.VALID, (), "")
)
WINDOW_S = 10


def climbed(*, latency_ms: int = 5, lost: int = 0, timeouts: int = 0, sent: int = 100) -> Recorder:
    """Two rungs; the first one is bad in every way, and must not matter to the second."""
    recorder = Recorder()
    at = START
    for rung in (1, 2):
        is_bad = rung == 1
        marks = (("connect", 0), ("warm-up", 2), ("window", 4), ("drain", 4 + WINDOW_S))
        for phase, after in marks:
            recorder.mark(f"{phase} {rung}", at + after)
        for second in range(at + 2, at + 4 + WINDOW_S):
            recorder.count("sent", sent, second)
            ns = (5000 if is_bad else latency_ms) * MS
            for _ in range(sent):
                recorder.add(Sample(SEND_TO_GROUP, MS), second)
                for _ in range(10):
                    recorder.add(Sample(DELIVERY, ns), second)
        at += 5 + WINDOW_S
    last = at - 1
    for _ in range(timeouts):
        recorder.count("sent", 1, last)
        recorder.add(Sample(SEND_TO_GROUP, None, failure="Timeout", is_answered=False), last)
    for _ in range(lost):
        recorder.count("sent", 1, last)
        recorder.add(Sample(SEND_TO_GROUP, MS), last)
    return recorder


def second_rung(recorder: Recorder, **surroundings: Any) -> Rung:
    """The second rung of two."""
    record = record_of(recorder)
    return judged(record, 2, STEP, OBJECTIVE, replace(CALM, **surroundings))


def test_a_rung_that_holds() -> None:
    """Rates are of its window alone."""
    rung = second_rung(climbed())
    assert (rung.outcome, rung.why, rung.lost) == ("held", [], 0)
    assert (rung.sent_per_s, rung.delivered_per_s) == (100, 1000)
    assert (rung.number, rung.connections, rung.in_per_s) == (2, 20, 100.0)


def test_late_deliveries_miss() -> None:
    """The measured value is named."""
    rung = second_rung(climbed(latency_ms=1200))
    assert rung.outcome == "missed"
    [why] = rung.why
    assert why.startswith("delivery.p99<1s: 12")


def test_each_member_that_got_nothing_is_a_loss() -> None:
    """Every acknowledged message is due to all members; nobody need have seen a gap."""
    rung = second_rung(climbed(lost=3))
    assert (rung.outcome, rung.lost) == ("missed", 30)
    assert rung.why == ["loss==0: 30"]


def test_a_message_without_an_answer_is_a_loss() -> None:
    """Whether it was delivered or not."""
    assert second_rung(climbed(timeouts=2)).lost == 2


def test_a_duplicate_does_not_make_up_for_a_loss() -> None:
    """As many deliveries as there should be, but one of them twice."""
    assert second_rung(climbed(), duplicated=1).lost == 1


def test_what_the_ledger_misses_is_lost() -> None:
    """It knows of gaps that numbers alone would hide."""
    assert second_rung(climbed(), missing=4).lost == 4


def test_a_rung_without_all_its_connections_has_missed() -> None:
    """However good the latencies of the others are."""
    rung = second_rung(climbed(), ready=19)
    assert (rung.outcome, rung.why) == ("missed", ["only 19 of 20 connections were open"])


def test_a_rung_whose_load_was_not_offered_has_missed() -> None:
    """A service that does not read makes the generator wait."""
    rung = second_rung(climbed(sent=88))
    assert rung.outcome == "missed"
    assert rung.why == ["only 88.0 of 100 messages/s could be sent"]


def test_few_messages_may_fall_outside_of_the_window() -> None:
    """Of ten that were to be sent in it, one or two may have been due before."""
    record = record_of(climbed(sent=1))
    step = Step(20, 1.2)
    assert judged(record, 2, step, OBJECTIVE, CALM).outcome == "held"
    assert judged(record, 2, Step(20, 3.0), OBJECTIVE, CALM).outcome == "missed"


@pytest.mark.parametrize("latency_ms", [5, 1200])
def test_a_late_generator_is_the_limit(latency_ms: int) -> None:
    """Never the service, whatever the latencies say."""
    verdict = Verdict(Level.INVALID, (Reason(Level.INVALID, "it was late", "do less"),), "")
    rung = second_rung(climbed(latency_ms=latency_ms), verdict=verdict)
    assert (rung.outcome, rung.why) == ("generator limit", ["it was late"])


def test_a_suspect_generator_is_no_limit() -> None:
    """But the record has what was suspected."""
    verdict = Verdict(Level.SUSPECT, (Reason(Level.SUSPECT, "it was slow", "do less"),), "")
    rung = second_rung(climbed(), verdict=verdict)
    assert rung.outcome == "held"
    assert rung.verdict == verdict.to_dict()


def test_a_late_generator_may_be_only_warned_of() -> None:
    """With --wps-verdict warn: the rung is judged, and its verdict is in the record."""
    verdict = Verdict(Level.INVALID, (Reason(Level.INVALID, "it was late", "do less"),), "")
    rung = second_rung(climbed(), verdict=verdict, is_enforced=False)
    assert rung.outcome == "held"
    assert rung.verdict is not None
    assert rung.verdict["level"] == "INVALID"


def test_nobody_need_look_at_the_generator() -> None:
    """With --wps-verdict off."""
    rung = second_rung(climbed(), verdict=None)
    assert (rung.outcome, rung.verdict) == ("held", None)
