"""The verdict: each limit, each reason with its advice, and merging in whatever order."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.histogram import Histogram
from wpsload.units import NS_PER_MS, NS_PER_S
from wpsload.verdict import (
    Course,
    Fill,
    Judge,
    Level,
    SelfMeasurement,
    Verdict,
    judge,
    verdict_lines,
)


def histogram(value_ns: int, count: int = 1_000) -> Histogram:
    """So many equal values."""
    made = Histogram()
    made.record(value_ns, count)
    return made


def measured(**different: Any) -> SelfMeasurement:
    """Ten seconds of a generator that has time, but for what is different."""
    values: dict[str, Any] = {
        "wall_ns": 10 * NS_PER_S,
        "slip": histogram(NS_PER_MS // 10),
        "lag": histogram(NS_PER_MS // 20),
        "loop_lag": histogram(NS_PER_MS // 10),
        "cpu": histogram(NS_PER_S // 4, 10),
        "core_wait_ns": 0,
        "stolen_ns": 0,
        "major_faults": 0,
    }
    return SelfMeasurement(**values | different)


def cpu(percent: int) -> Histogram:
    """Ten seconds with this share of a core each."""
    return histogram(percent * NS_PER_S // 100, 10)


LIMITS = [
    ({}, Level.VALID, ""),
    *(
        ({name: histogram(late_ns)}, level, text if level else "")
        for name, text in (
            ("slip", "written late"),
            ("lag", "read late"),
            ("loop_lag", "event loop came late"),
        )
        for late_ns, level in (
            (990_000, Level.VALID),
            (1_020_000, Level.SUSPECT),
            (4_950_000, Level.SUSPECT),
            (5_100_000, Level.INVALID),
        )
    ),
    ({"slip": histogram(NS_PER_S, 99)}, Level.VALID, ""),  # too few for a p99
    ({"cpu": cpu(69)}, Level.VALID, ""),
    ({"cpu": cpu(72)}, Level.SUSPECT, "72 % of a core"),
    ({"cpu": cpu(95)}, Level.INVALID, "95 % of a core"),
    ({"gc_pause": histogram(60 * NS_PER_MS, 1)}, Level.SUSPECT, "up to 60.00 ms"),
    ({"gc_pause": histogram(NS_PER_MS, 200)}, Level.SUSPECT, "2.0 % of the time"),
    ({"gc_pause": histogram(NS_PER_MS, 20)}, Level.VALID, ""),
    ({"fds": Fill.of(950, 1000)}, Level.SUSPECT, "950 of 1000 open files"),
    ({"fds": Fill.of(500, 1000)}, Level.VALID, ""),
    ({"ports": Fill.of(27_000, 28_232)}, Level.SUSPECT, "27000 of 28232 local ports"),
    ({"major_faults": 500}, Level.SUSPECT, "500 pages"),
    ({"buffers_full": 3}, Level.SUSPECT, "3 times a connection"),
    ({"stolen_ns": NS_PER_S}, Level.SUSPECT, "withheld 10 %"),
    ({"wall_ns": NS_PER_S}, Level.SUSPECT, "only 1.0 s"),
]


@pytest.mark.parametrize(("different", "level", "text"), LIMITS)
def test_limits(different: dict[str, Any], level: Level, text: str) -> None:
    """On either side of each limit, and the reason says what was measured."""
    verdict = judge(measured(**different))
    assert verdict.level is level
    assert text in " ".join(reason.text for reason in verdict.reasons)
    assert bool(verdict.reasons) is (level is not Level.VALID)
    assert all(reason.hint for reason in verdict.reasons)


def test_what_is_not_measured_is_no_reason() -> None:
    """And it is said that it was not."""
    verdict = judge(SelfMeasurement(wall_ns=10 * NS_PER_S, loop_lag=histogram(1000), cpu=cpu(20)))
    assert verdict.level is Level.VALID
    assert "receive lag not measured" in verdict.figures


def test_nothing_measured_is_not_valid() -> None:
    """No data is no pass."""
    assert judge(SelfMeasurement()).level is Level.SUSPECT
    assert Judge().verdict().level is Level.SUSPECT


def test_dropped_arrivals_are_invalid() -> None:
    """However much time the generator had."""
    verdict = judge(measured(), dropped=7)
    assert verdict.is_invalid
    assert verdict.reasons[0].text.startswith("7 messages")


@pytest.mark.parametrize(
    ("different", "hint"),
    [
        ({"core_wait_ns": 4 * NS_PER_S}, "of the time that it wanted its core others had it"),
        ({"stolen_ns": NS_PER_S}, "the host kept the machine waiting"),
        ({"cpu": cpu(80)}, "--processes 2"),
        ({}, "on_message"),
    ],
)
def test_lateness_has_a_cause(different: dict[str, Any], hint: str) -> None:
    """The advice depends on what else was measured."""
    verdict = judge(measured(slip=histogram(20 * NS_PER_MS), **different))
    assert hint in verdict.reasons[0].hint


def test_a_closed_loop_is_told_what_its_figures_mean() -> None:
    """It takes all of the core by its nature."""
    [reason] = judge(measured(cpu=cpu(99), slip=Histogram())).reasons
    assert "lower bound" in reason.hint


def test_lines_fit_a_terminal() -> None:
    """The level comes first, and nothing is wider than 80 columns."""
    verdict = judge(measured(cpu=cpu(99), slip=Histogram(), fds=Fill.of(1, 1)), dropped=5)
    lines = verdict_lines(verdict)
    assert lines[0].startswith("INVALID: ")
    assert max(map(len, lines)) <= 80
    assert "loop lag" in lines[-1] + lines[-2]


durations = st.lists(st.integers(0, 10 * NS_PER_S), max_size=5)
amounts = st.none() | st.integers(0, 10**12)
fills = st.none() | st.builds(Fill.of, st.integers(0, 100), st.integers(1, 100))


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """Any."""
    made = Histogram()
    made.record_all(draw(durations))
    return made


measurements = st.builds(
    SelfMeasurement,
    wall_ns=st.integers(0, 10**12),
    slip=histograms(),
    lag=histograms(),
    loop_lag=histograms(),
    cpu=histograms(),
    gc_pause=histograms(),
    core_wait_ns=amounts,
    stolen_ns=amounts,
    major_faults=amounts,
    fds=fills,
    ports=fills,
    buffers_full=st.integers(0, 100),
)


@given(measurements, measurements, measurements)
def test_merging_is_associative_and_commutative(
    one: SelfMeasurement, two: SelfMeasurement, three: SelfMeasurement
) -> None:
    """Whatever order workers report in; and nothing merged changes nothing."""
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(two) == two.merge(one)
    assert one.merge(SelfMeasurement()) == one


@given(measurements)
def test_it_travels_as_json(one: SelfMeasurement) -> None:
    """To the master, and into files."""
    assert SelfMeasurement.from_dict(json.loads(json.dumps(one.to_dict()))) == one


SECOND = measured(wall_ns=NS_PER_S)
LATE = measured(wall_ns=NS_PER_S, slip=histogram(20 * NS_PER_MS))


def test_a_course_does_not_waver() -> None:
    """One bad second is no change, two are; it takes longer to be well again."""
    course = Course()
    assert not any(course.add(SECOND) for _ in range(5))
    assert not course.add(LATE)
    assert course.verdict.level is Level.VALID
    assert course.add(LATE)
    assert course.verdict.is_invalid
    changes = [course.add(SECOND) for _ in range(30)]
    assert course.verdict.level is Level.VALID
    assert changes.index(True) >= 9  # when the late seconds are 10 s ago, and not before


def test_the_worst_process_decides_and_is_named() -> None:
    """A worker that is late spoils what the others measured."""
    judge = Judge()
    for _ in range(10):
        judge.add("worker 0", SECOND, is_steady=True)
        judge.add("worker 1", LATE, is_steady=True)
    verdict = judge.verdict()
    assert verdict.is_invalid
    assert [reason.text.partition(":")[0] for reason in verdict.reasons] == ["worker 1"]
    assert judge.live()["worker 0"].level is Level.VALID


def test_connecting_does_not_count_once_the_load_is_steady() -> None:
    """Unless there was nothing else."""
    judge = Judge()
    late = measured(wall_ns=5 * NS_PER_S, slip=histogram(20 * NS_PER_MS))
    judge.add("this process", late, is_steady=False)
    assert judge.verdict().is_invalid
    for _ in range(5):
        judge.add("this process", SECOND, is_steady=True)
    assert judge.verdict().level is Level.VALID
    judge.reset()
    assert judge.measured() == {}


def test_it_is_plain_data() -> None:
    """For files and Locust's page."""
    data = judge(measured(cpu=cpu(95))).to_dict()
    assert data["level"] == "INVALID"
    assert data["reasons"][0].keys() == {"level", "text", "hint"}
    assert json.loads(json.dumps(data)) == data
    assert Verdict(Level.VALID, (), "").to_dict()["reasons"] == []
