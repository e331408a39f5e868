"""A ladder in words: the headline is the last rung that held, and nothing is nicer than it was."""

from dataclasses import replace

from ladders import climb
from recording import MS, record_of, steady_run

from wpsload.record import Ladder
from wpsload.reports.ladder_lines import headline, ladder_lines, objective_p99_ns, rung_rows
from wpsload.summary import summary_lines


def test_the_headline_is_the_last_rung_that_held() -> None:
    """With what was really sent and delivered, and the share of what is published."""
    lines = ladder_lines(climb())
    assert lines[:2] == [
        "ladder: 200 connections, 18 messages/s in, 2 000 out, delivery p99 = 23.0 ms",
        "  50 % of the published 4 000 messages/s out of 1 unit to 1 000 connections (the",
    ]
    assert "objective delivery.p99<30ms and loss==0" in " ".join(lines)
    assert max(map(len, lines)) <= 80


def test_every_rung_is_told() -> None:
    """Its load, what it delivered, and why it did not hold."""
    lines = ladder_lines(climb())
    assert [line.split() for line in lines[-5:]] == [
        ["1", "100", "10", "1", "000", "13.0", "held"],
        ["2", "200", "20", "2", "000", "23.0", "held"],
        ["3", "300", "30", "3", "000", "33.0", "missed"],
        ["delivery.p99<30ms:", "33.0", "ms"],
        ["4", "400", "40", "4", "000", "~43.0", "generator", "limit"],
    ]


def test_a_rung_beyond_the_generator_is_marked() -> None:
    """That rung alone; of an invalid run all of them."""
    assert [row.is_marked for row in rung_rows(climb())] == [False, False, False, True]
    invalid = climb(verdict={"level": "INVALID", "reasons": [], "figures": ""})
    assert all(row.is_marked for row in rung_rows(invalid))
    assert "delivery p99 = ~23.0 ms" in headline(invalid)


def test_why_a_rung_missed_is_marked_with_it() -> None:
    """What was missed has the latency as well."""
    assert "delivery.p99<30ms: 33.0 ms" in " ".join(ladder_lines(climb()))
    invalid = climb(verdict={"level": "INVALID", "reasons": [], "figures": ""})
    assert "delivery.p99<30ms: ~33.0 ms" in " ".join(ladder_lines(invalid))


def test_without_a_rung_that_held_there_is_no_figure() -> None:
    """And what is published stands alone."""
    record = climb(held=None)
    assert headline(record) == "no rung of the ladder held its objective"
    assert "published: 4 000 messages/s" in ladder_lines(record)[1]


def test_the_summary_begins_with_it() -> None:
    """Before the verdict; without a ladder there is no line of it."""
    assert summary_lines(climb())[0].startswith("ladder: 200 connections")
    assert not ladder_lines(record_of(steady_run()))


def test_an_objective_of_a_later_release_is_no_error() -> None:
    """It is shown in words and drawn as no line."""
    ladder = Ladder(objective=["delivery.p95.7.3<1s", "delivery.p99<30ms"])
    assert objective_p99_ns(ladder) == 30 * MS
    assert objective_p99_ns(replace(ladder, objective=["colour==blue"])) is None
