"""Load plans: each has the arrivals that it says, when it says, and a wrong one is named."""

import itertools
import math
from contextlib import suppress
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wpsload.arrivals import MOST_PER_S, Plan, Segment, due_times_ns, every, parse_plan
from wpsload.errors import ConfigError
from wpsload.units import NS_PER_S

START_NS = 7_000_000_000_123

RATES = st.builds(
    "{}{}/{}".format,
    st.integers(1, 500),
    st.sampled_from(["", ".5", ".003"]),
    st.sampled_from("smh"),
)
DURATIONS = st.builds("{}{}".format, st.integers(20, 9_000), st.just("ms"))
REGULAR = st.one_of(
    st.builds("constant {} for {}".format, RATES, DURATIONS),
    st.builds("every {} for {}".format, DURATIONS, DURATIONS),
    st.builds("spike {} for {}".format, RATES, DURATIONS),
    st.builds("ramp {} to {} for {}".format, RATES, RATES, DURATIONS),
    st.builds("ramp 0/s to {} for {}".format, RATES, DURATIONS),
    st.builds("ramp {} to 0/m for {}".format, RATES, DURATIONS),
    st.builds("steps {0}/s to {1}/s by 1/s each {2}".format, *[st.integers(0, 20)] * 2, DURATIONS),
    st.builds("pause {}".format, DURATIONS),
)
RANDOM = st.one_of(
    st.builds("poisson {} for {}".format, RATES, DURATIONS),
    st.builds("poisson ramp {} to {} for {}".format, RATES, RATES, DURATIONS),
    st.builds("poisson spike {} for {}".format, RATES, DURATIONS),
    st.builds("poisson steps 0/s to 4/s by 2/s each {}".format, DURATIONS),
)
FINITE = st.lists(REGULAR | RANDOM, min_size=1, max_size=4).map(" then ".join)
SEEDS = st.integers(0, 2**32)


def due_ns(text: str, seed: int = 0) -> list[int]:
    """Due times of a plan that ends, from its start on."""
    times_ns = due_times_ns(parse_plan(text).segments, START_NS, Random(seed))
    return [due - START_NS for due in times_ns]


def length_ns(segments: tuple[Segment, ...]) -> int:
    """How long a plan lasts that ends."""
    return sum(one.duration_ns or 0 for one in segments)


def area(segments: tuple[Segment, ...]) -> Fraction:
    """How many arrivals it has on average."""
    return sum((one.area or Fraction(0) for one in segments), Fraction(0)) / NS_PER_S


@given(FINITE, SEEDS)
def test_due_times_never_go_back(text: str, seed: int) -> None:
    """All lie within the plan, in order."""
    times = due_ns(text, seed)
    assert times == sorted(times)
    assert all(0 <= due < length_ns(parse_plan(text).segments) for due in times)


@given(st.lists(REGULAR, min_size=1, max_size=5).map(" then ".join), SEEDS)
def test_the_count_is_the_area_under_the_rate(text: str, seed: int) -> None:
    """However many phases: none of them loses or gains a part of an arrival."""
    wanted = area(parse_plan(text).segments)
    assert math.floor(wanted) <= len(due_ns(text, seed)) <= math.ceil(wanted)


@given(REGULAR, st.integers(1, 5), SEEDS)
def test_cutting_a_plan_adds_no_arrival(text: str, parts: int, seed: int) -> None:
    """Who joins late has what is left of the area, at the rate that holds by then."""
    plan = parse_plan(text)
    elapsed_ns = length_ns(plan.segments) * parts // 6
    rest = plan.after(elapsed_ns)
    assert length_ns(rest) == length_ns(plan.segments) - elapsed_ns
    wanted = area(rest)
    count = len(list(due_times_ns(rest, START_NS, Random(seed))))
    assert math.floor(wanted) <= count <= math.ceil(wanted)


@pytest.mark.parametrize(
    ("text", "elapsed_s", "per_s"),
    [
        ("ramp 0/s to 10/s for 10s", 4, 4),
        ("ramp 10/s to 0/s for 10s", 4, 6),
        ("constant 1/s for 4s then constant 9/s", 4, 9),
        ("constant 1/s for 4s then constant 9/s", 400, 9),
        ("constant 1/s for 4s then constant 9/s", 0, 1),
    ],
)
def test_who_joins_late_finds_the_rate_of_then(text: str, elapsed_s: int, per_s: int) -> None:
    """A plan is the same for all senders at any time."""
    assert parse_plan(text).after(elapsed_s * NS_PER_S)[0].start_per_s == per_s


def test_a_plan_that_is_over_has_nothing_left() -> None:
    """Who comes after its end sends nothing."""
    assert parse_plan("constant 1/s for 4s").after(4 * NS_PER_S) == ()
    assert list(due_times_ns((), START_NS, Random(0))) == []


@pytest.mark.parametrize(
    "text", ["constant 3/s", "every 7ms", "constant 0.7/s", "constant 999983/s"]
)
def test_nothing_drifts(text: str) -> None:
    """The millionth is due to the nanosecond when it should be, as seen from the first."""
    plan = parse_plan(text)
    random = Random(5)
    first_ns = Fraction(int(Random(5).random() * NS_PER_S)) / plan.segments[0].start_per_s
    times = due_times_ns(plan.segments, START_NS, random)
    millionth = next(itertools.islice(times, 1_000_000, None))
    exact_ns = START_NS + first_ns + Fraction(1_000_000 * NS_PER_S) / plan.segments[0].start_per_s
    assert millionth == math.floor(exact_ns)


def test_a_ramp_is_steady() -> None:
    """The n-th arrival of a ramp from nothing is due at the root of n: half of the time has a
    quarter of the messages."""
    times = due_ns("ramp 0/s to 100/s for 100s")
    half = sum(due < 50 * NS_PER_S for due in times)
    assert len(times) in (4_999, 5_000, 5_001)
    assert half in (1_249, 1_250, 1_251)
    down = due_ns("ramp 100/s to 0/s for 100s")
    assert sum(due < 50 * NS_PER_S for due in down) in (3_749, 3_750, 3_751)


def test_steps_are_each_as_long() -> None:
    """Both ends are among them, and they go down as well."""
    segments = parse_plan("steps 1/s to 10/s by 3/s each 2s").segments
    assert [one.start_per_s for one in segments] == [1, 4, 7, 10]
    assert {one.duration_ns for one in segments} == {2 * NS_PER_S}
    down = parse_plan("steps 2/s to 0/s by 1/s each 2s").segments
    assert [one.start_per_s for one in down] == [2, 1, 0]


def test_phases_are_spread_over_the_interval() -> None:
    """Ten thousand senders do not begin at once: each tenth of the interval has its share."""
    random = Random(1)
    segments = every(NS_PER_S).segments
    firsts = [next(due_times_ns(segments, 0, random)) for _ in range(10_000)]
    shares = [
        sum(tenth * 10**8 <= one < (tenth + 1) * 10**8 for one in firsts) for tenth in range(10)
    ]
    assert sum(shares) == 10_000
    assert all(850 < share < 1_150 for share in shares)


@given(SEEDS)
@settings(max_examples=10)
def test_poisson_has_the_mean_and_spread_of_its_name(seed: int) -> None:
    """Both are one over the rate; six standard deviations are allowed."""
    times = due_ns("poisson 50/s for 400s", seed)
    gaps_s = [(later - due) / NS_PER_S for due, later in itertools.pairwise(times)]
    mean_s = sum(gaps_s) / len(gaps_s)
    deviation_s = math.sqrt(sum((gap - mean_s) ** 2 for gap in gaps_s) / len(gaps_s))
    assert abs(len(times) - 20_000) < 6 * math.sqrt(20_000)
    assert mean_s == pytest.approx(1 / 50, rel=0.05)
    assert deviation_s == pytest.approx(1 / 50, rel=0.1)


@given(FINITE, SEEDS)
def test_a_seed_repeats_a_plan(text: str, seed: int) -> None:
    """To the nanosecond."""
    assert due_ns(text, seed) == due_ns(text, seed)


@given(FINITE)
def test_a_plan_reads_what_it_writes(text: str) -> None:
    """Its text means the same plan, however it was typed."""
    plan = parse_plan(text)
    assert parse_plan(plan.text) == plan
    assert parse_plan("  " + text.upper().replace(" THEN ", ",  then ").replace(" ", "  ")) == plan


@given(st.integers(1_000, 10**14))
def test_an_interval_is_exact(interval_ns: int) -> None:
    """Also one that nobody would type."""
    plan = every(interval_ns)
    assert plan.segments[0].start_per_s == Fraction(NS_PER_S, interval_ns)
    assert parse_plan(plan.text) == plan


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "phase 1.*ends where one of constant"),
        ("soon", "'soon' where one of constant"),
        ("constant", "ends where a rate"),
        ("constant 5", "'5' where a rate"),
        ("constant 5/d", "'5/d' where a rate"),
        ("constant -5/s", "'-5/s' where a rate"),
        ("constant 0/s", "a rate of nothing"),
        ("constant 5/s until 3s", "'until' where 'for'"),
        ("constant 5/s for", "ends where a duration"),
        ("constant 5/s for 3x", "'3x' where a duration"),
        ("constant 5/s for 0s", "a duration of nothing"),
        ("constant 5/s for 3s please", "goes on with 'please'"),
        (f"constant {MOST_PER_S + 1}/s", "more than 1000000 messages a second"),
        ("every 0s", "a duration of nothing"),
        ("every 1/s", "'1/s' where a duration"),
        ("every 0.0001ms", "more than 1000000 messages a second"),
        ("spike 5/s", "ends where 'for'"),
        ("ramp 1/s for 3s", "'for' where 'to'"),
        ("ramp 1/s to 3/s", "ends where 'for'"),
        ("steps 1/s to 10/s by 4/s each 1s", "whole steps"),
        ("steps 1/s to 10/s by 0/s each 1s", "a rate of nothing"),
        ("steps 0/s to 9000/s by 1/s each 1s", "more than 1000 steps"),
        ("pause", "ends where a duration"),
        ("poisson pause 3s", "'pause' where a rate"),
        ("constant 1/s then constant 2/s", "phase 1 .*has no end"),
        ("constant 1/s for 3s then", "goes on with 'then'"),
        ("constant 1/s for 3s then then pause 1s", "phase 2.*'then' where one of"),
        ("constant 1/s for 1s then constant 2/s for 1s, then fast", "phase 3.*'fast'"),
    ],
)
def test_a_wrong_plan_is_named(text: str, names: str) -> None:
    """The place, the word, and what should stand there; with an example to copy."""
    with pytest.raises(ConfigError, match=names) as caught:
        parse_plan(text)
    assert caught.value.hint


WORDS = ["constant", "ramp", "to", "for", "1/s", "3s", "then", ",", "poisson"]


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_a_plan_or_an_error(text: str) -> None:
    """Nothing else comes out of it."""
    with suppress(ConfigError):
        assert isinstance(parse_plan(text), Plan)
