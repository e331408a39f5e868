"""Thresholds: what can be asked, how mistakes are named, and what became of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import MS, START, record_of, steady_run

from wpsload.errors import ConfigError
from wpsload.metrics import SEND_TO_GROUP, Sample
from wpsload.record import Ladder, Record, Rung, ThresholdResult
from wpsload.recorder import Recorder
from wpsload.thresholds import RATES, TOTALS, judge, judges_failures, parse, parse_all

OPERATORS = ["<", "<=", ">", ">=", "==", "!="]


def outcome(expression: str, record: Record | None = None) -> ThresholdResult:
    """What became of one threshold, by default on a steady run."""
    (result,) = judge([parse(expression)], record or record_of(steady_run()))
    return result


@pytest.mark.parametrize(
    ("text", "subject", "statistic", "unit", "limit", "part"),
    [
        ("delivery.p99<1s", "delivery", "p99", "ns", 1000 * MS, None),
        ("ack.p50 <= 20ms", "ack", "p50", "ns", 20 * MS, None),
        ("sendToGroup.p99.9<5ms", "sendToGroup", "p99.9", "ns", 5 * MS, None),
        ("connect.p99<2s@steady", "connect", "p99", "ns", 2000 * MS, "steady"),
        ("connect.tls.p99.9<2m @ all", "connect.tls", "p99.9", "ns", 120_000 * MS, "all"),
        ("echo.max<0.5ms", "echo", "max", "ns", MS // 2, None),
        ("loss==0", "loss", "", "count", 0, None),
        ("error_ratio<0.1%", "error_ratio", "", "ratio", 0.001, None),
        ("sendToGroup.error_ratio<0.01", "sendToGroup", "error_ratio", "ratio", 0.01, None),
        ("rate.delivered>=1000/s", "delivered", "rate", "per_s", 1000, None),
        ("joinGroup.count>=5", "joinGroup", "count", "count", 5, None),
        ("capacity.connections>=1000", "capacity.connections", "", "count", 1000, None),
        ("capacity.in>=200/s", "capacity.in", "", "per_s", 200, None),
    ],
)
def test_what_can_be_asked(  # noqa: PLR0917  # the columns of the table above
    text: str, subject: str, statistic: str, unit: str, limit: float, part: str | None
) -> None:
    """Each piece is understood, whatever the spaces."""
    one = parse(text)
    assert (one.subject, one.statistic, one.unit, one.part) == (subject, statistic, unit, part)
    assert one.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("delivery.p99", "no threshold"),
        ("delivery.p99=1s", "no threshold"),
        ("deliver.p99<1s", "sendToGroup"),
        ("delivery<1s", "p99"),
        ("delivery.p100<1s", "p99"),
        ("delivery.p99<1", "a latency such as"),
        ("delivery.p99<1/s", "'/s' is not the unit"),
        ("delivery.p99<soon", "'soon' is not"),
        ("loss==0%", "a number such as"),
        ("capacity.rungs>1", "capacity.out"),
        ("capacity.in>=1/s@steady", "of the whole run"),
        ("rate.received>1/s", "delivered"),
        ("connect.p99<2s@peak", "@steady or @all"),
        ("loss==0@steady", "leave @steady out"),
    ],
)
def test_a_mistake_is_named_with_what_there_is(text: str, said: str) -> None:
    """Nobody has to look up the grammar."""
    with pytest.raises(ConfigError, match=None) as caught:
        parse(text)
    assert said in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_threshold_or_an_error(text: str) -> None:
    """Never a traceback."""
    try:
        parse_all(text)
    except ConfigError as error:
        assert error.message  # noqa: PT017  # any text may be right as well


@given(
    st.sampled_from([*(f"rate.{rate}" for rate in RATES), *TOTALS, "ack.count"]),
    st.sampled_from(OPERATORS),
    st.integers(0, 10**9),
)
def test_what_is_printed_can_be_parsed(name: str, sign: str, value: int) -> None:
    """The expression of a result is a threshold again, the same one."""
    one = parse(f" {name}  {sign} {value} ")
    assert parse(one.expression) == one
    assert one.limit == value


def test_several_are_separated_by_semicolons() -> None:
    """As in an environment variable."""
    assert [one.subject for one in parse_all("loss==0; delivery.p99<1s;")] == ["loss", "delivery"]
    assert parse_all("") == ()


@pytest.mark.parametrize(
    ("expression", "passed", "covers"),
    [
        ("sendToGroup.p99<3ms", True, "window"),
        ("sendToGroup.p99<3ms@all", False, "run"),
        ("sendToGroup.max>=2ms@steady", True, "window"),
        ("ack.mean<3ms", True, "window"),
        ("delivery.p50>800ms", True, "window"),
        ("connect.max==4ms", True, "run"),
        ("rate.sent==300/s", True, "window"),
        ("rate.sent<300/s@all", True, "run"),
        ("loss==0", True, "run"),
        ("failures==0", True, "run"),
        ("error_ratio<=0%", True, "run"),
        ("dropped==0", True, "run"),
        ("sendToGroup.count>6000@all", True, "run"),
    ],
)
def test_each_is_judged_by_what_it_covers(expression: str, passed: bool, covers: str) -> None:
    """By default what the summary shows."""
    result = outcome(expression)
    assert (result.passed, result.covers) == (passed, covers), result


@pytest.mark.parametrize(
    "expression", ["echo.p99<1s", "leaveGroup.p99<2s@steady", "event.min>=0", "capacity.in>=0/s"]
)
def test_no_data_is_a_failure(expression: str) -> None:
    """And says so."""
    result = outcome(expression)
    assert not result.passed
    assert result.value is None
    assert result.shown == "no data"


@pytest.mark.parametrize(
    ("expression", "held", "passed"),
    [
        ("capacity.connections>=20", 1, True),
        ("capacity.connections>=40", 1, False),
        ("capacity.in>=39.5/s", 2, True),
        ("capacity.out>=396/s", 2, False),
        ("capacity.out>=0/s", None, True),
        ("capacity.connections>0", None, False),
    ],
)
def test_capacity_is_that_of_the_last_rung_that_held(
    expression: str, held: int | None, passed: bool
) -> None:
    """As it was measured, not as it was asked for."""
    rungs = [
        Rung(
            number=number,
            connections=20 * number,
            in_per_s=20.0 * number,
            outcome="held" if held is not None and number <= held else "missed",
            sent_per_s=19.75 * number,
            delivered_per_s=197.5 * number,
        )
        for number in (1, 2)
    ]
    record = record_of(steady_run(), ladder=Ladder(objective=[], rungs=rungs, held=held))
    assert outcome(expression, record).passed is passed


def test_an_empty_run_passes_nothing() -> None:
    """Not even that there were no failures."""
    record = record_of(Recorder())
    for name in TOTALS:
        assert not outcome(f"{name}>=0", record).passed
    assert not outcome("rate.sent>=0/s", record).passed


def test_without_a_window_the_run_is_judged_and_it_is_said() -> None:
    """Unless the steady state was asked for."""
    recorder = Recorder()
    recorder.add(Sample(SEND_TO_GROUP, MS), START)
    record = record_of(recorder)
    result = outcome("sendToGroup.p50<2ms", record)
    assert (result.passed, result.covers) == (True, "run")
    assert "no steady state" in result.note
    steady = outcome("sendToGroup.p50<2ms@steady", record)
    assert not steady.passed
    assert "no steady state" in steady.note


def test_loss_is_the_ledgers_or_what_was_never_answered() -> None:
    """A refusal is a failure and no loss."""
    recorder = steady_run()
    recorder.add(Sample(SEND_TO_GROUP, None, failure="Forbidden"), START + 5)
    recorder.add(Sample(SEND_TO_GROUP, None, failure="Timeout", is_answered=False), START + 5)
    record = record_of(recorder)
    assert outcome("loss==1", record).passed
    assert outcome("failures==2", record).passed
    assert outcome("loss==7", record_of(recorder, ledger={"loss": 7})).passed


def test_some_judge_failures() -> None:
    """Then it is theirs to say how many there may be."""
    assert judges_failures(parse_all("failures<10"))
    assert judges_failures(parse_all("delivery.p99<1s;error_ratio<1%"))
    for text in ("delivery.p99<1s; dropped==0", "loss==0", "ack.error_ratio<1%", "failures>=0"):
        assert not judges_failures(parse_all(text))
