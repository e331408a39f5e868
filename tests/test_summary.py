"""The summary fits a terminal and says neither more nor less than was measured."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import MS, START, record_of, steady_run

from wpsload.histogram import Histogram
from wpsload.metrics import (
    CONNECT,
    CONNECT_PHASES,
    CONNECTION_LOST,
    DELIVERY,
    JOIN_GROUP,
    METRICS,
    SEND_TO_GROUP,
    SEND_TO_GROUP_SERVICE,
    Metric,
    Sample,
)
from wpsload.phases import Phases
from wpsload.record import Record
from wpsload.recorder import COUNTS, Recorder
from wpsload.summary import report_lines, summary_lines
from wpsload.thresholds import judge, parse_all
from wpsload.verdict import SelfMeasurement
from wpsload.verdict import judge as judge_generator


def lines_of(recorder: Recorder) -> list[str]:
    """The summary of everything recorded."""
    return summary_lines(record_of(recorder))


def line(recorder: Recorder, start: str) -> str:
    """The only line of the summary that starts so."""
    [found] = [one for one in lines_of(recorder) if one.startswith(start)]
    return found


def test_whole_summary() -> None:
    """A run as its reader sees it."""
    recorder = Recorder()
    for second in range(10):
        for number in range(1_000):
            recorder.add(Sample(SEND_TO_GROUP, 370_000 + number), second)
        recorder.count("sent", 1_000, second)
        recorder.count("sent_bytes", 250_000, second)
        recorder.count("received_bytes", 50_000, second)
    for number in range(40):
        recorder.count("opened", 1, 0)
        recorder.add(Sample(CONNECT, (number + 1) * 30 * MS), 0)
    recorder.add(Sample(DELIVERY, 12_340_000), 5)
    recorder.add(Sample(SEND_TO_GROUP, None, "Timeout", is_answered=False), 6)
    recorder.add(Sample(CONNECTION_LOST, None, "closed 1006", is_answered=False), 6)
    recorder.count("closed", 1, 6)
    assert lines_of(recorder) == [
        "latency  in ms            count failed  p50  p90  p99 p99.9   max",
        "CONNECT  connect             40      0  602    -    -     - 1 200",
        "CONNECT  connection.lost      1      1    -    -    -     -     -",
        "ACK      sendToGroup     10 001      1 0.37 0.37 0.37  0.37  0.37",
        "DELIVERY group                1      0    -    -    -     -  12.3",
        "- fewer than 10 samples lie beyond this percentile",
        "",
        "closed loop: a sender waits for an answer before it sends again",
        "",
        "throughput   total per second",
        "connected       40        4.0",
        "requests    10 000    1 000.0",
        "acked       10 000    1 000.0",
        "delivered        1        0.1",
        "MB sent        2.5      0.250",
        "MB received    0.5      0.050",
        "connections open: at most 40, 39 at the end of 10 s",
        "",
        "failures",
        "1  Timeout (sendToGroup)",
        "1  closed 1006 (connection.lost)",
    ]


def test_an_open_loop_says_what_became_of_its_load() -> None:
    """Offered is sent and dropped; what followed an answer besides is told apart."""
    recorder = Recorder()
    for second in range(10):
        for name, amount in (
            ("due", 10_000),
            ("achieved", 9_000),
            ("late", 12),
            ("dropped", 1_000),
        ):
            recorder.count(name, amount, second)
    latency = Histogram()
    latency.record_all([MS] * 90_000)
    recorder.add_latencies(SEND_TO_GROUP, latency, 0)
    recorder.add_latencies(SEND_TO_GROUP_SERVICE, latency, 0)
    lines = lines_of(recorder)
    start = lines.index("open loop   total per second")
    assert lines[start + 1 : start + 6] == [
        "offered   100 000   10 000.0",
        "sent       90 000    9 000.0",
        "sent late     120       12.0",
        "dropped    10 000    1 000.0",
        "",
    ]
    assert line(recorder, "SERVICE").split()[2:4] == ["90", "000"]
    recorder.add(Sample(SEND_TO_GROUP, MS), 0)
    assert "closed loop besides: 1 that waited for an answer" in lines_of(recorder)


def test_an_invalid_run_has_no_bare_latency() -> None:
    """Every figure has its mark, none of the counts has, and the verdict comes first."""
    recorder = Recorder()
    for number in range(100):
        recorder.add(Sample(SEND_TO_GROUP, (number + 1) * MS), 0)
    dropped = judge_generator(SelfMeasurement(), dropped=1)
    found = summary_lines(record_of(recorder, verdict=dropped.to_dict()))
    assert found[0].startswith("INVALID: ")
    [row] = [one for one in found if one.startswith("ACK ")]
    kind, name, count, failed, *figures = row.split()
    assert (kind, name, count, failed) == ("ACK", "sendToGroup", "100", "0")
    assert [figure[0] for figure in figures] == ["~", "~", "-", "-", "~"]
    assert any(one.startswith("~ not to be believed") for one in found)
    suspect = summary_lines(
        record_of(recorder, verdict=judge_generator(SelfMeasurement()).to_dict())
    )
    assert suspect[0].startswith("SUSPECT: ")
    assert "~" not in "".join(suspect)


def test_nothing_measured_is_said() -> None:
    """No table of zeros that could pass for a result."""
    assert lines_of(Recorder()) == ["nothing was measured"]


def test_what_takes_no_time_is_left_out() -> None:
    """Without TLS its phase lasts 0 ns for everybody, which is no news."""
    recorder = Recorder()
    recorder.add(Sample(CONNECT_PHASES["tls"], 0), 0)
    recorder.add(Sample(CONNECT_PHASES["tcp"], MS), 0)
    assert not any("connect.tls" in one for one in lines_of(recorder))
    assert any("connect.tcp" in one for one in lines_of(recorder))


def test_sections_without_content_are_left_out() -> None:
    """No samples, no table; no failures, no list."""
    recorder = Recorder()
    recorder.count("opened", 1, 0)
    lines = lines_of(recorder)
    assert lines[0].startswith("throughput")
    assert lines[-1].startswith("connections open")


def test_no_dash_needs_no_explanation() -> None:
    """The line below the table is there only if it explains something."""
    recorder = Recorder()
    for _ in range(10_000):
        recorder.add(Sample(SEND_TO_GROUP, MS), 0)
    assert not any(one.startswith("- ") for one in lines_of(recorder))


@pytest.mark.parametrize(
    ("latency_ns", "shown"),
    [
        (1_000, "0.001"),
        (52_400, "0.052"),
        (99_900, "0.10"),
        (370_000, "0.37"),
        (1_234_000, "1.23"),
        (9_994_000, "9.99"),
        (9_996_000, "10.0"),
        (99_940_000, "99.9"),
        (99_960_000, "100"),
        (1_204 * MS, "1 204"),
        (99_999 * MS, "99 999"),
        (100_000 * MS, "100 s"),
        (3_600_000 * MS, "3600 s"),
    ],
)
def test_latency_has_about_three_digits(latency_ns: int, shown: str) -> None:
    """Sub-millisecond values are not 0, and long ones have no false precision."""
    recorder = Recorder()
    recorder.add(Sample(SEND_TO_GROUP, latency_ns), 0)
    assert re.search(rf"- +{shown}$", line(recorder, "ACK"))


def test_equal_failures_of_several_metrics_are_one_line() -> None:
    """Grouped by text, most frequent first."""
    recorder = Recorder()
    recorder.add(Sample(CONNECT_PHASES["dns"], None, "odd"), 0)
    for metric in (SEND_TO_GROUP, JOIN_GROUP, SEND_TO_GROUP):
        recorder.add(Sample(metric, None, "Timeout"), 0)
    lines = lines_of(recorder)
    assert lines[lines.index("failures") + 1 :] == [
        "3  Timeout (joinGroup, sendToGroup)",
        "1  odd (connect.dns)",
    ]


def test_at_most_ten_failures_are_listed() -> None:
    """The rest is counted, not hidden."""
    recorder = Recorder()
    for number in range(13):
        for _ in range(20 - number):
            recorder.add(Sample(CONNECT, None, f"closed 40{number:02}"), 0)
    lines = lines_of(recorder)
    listed = lines[lines.index("failures") + 1 :]
    assert len(listed) == 11
    assert listed[0] == "20  closed 4000 (connect)"
    assert listed[-1] == "27  others, of 3 kinds"


def test_long_count_is_shortened_in_the_table_and_exact_below() -> None:
    """The table keeps its width."""
    recorder = Recorder()
    recorder.add(Sample(DELIVERY, MS), 0)
    recorder.add(Sample(DELIVERY, None), 0)
    delta = recorder.drain()
    delta["seconds"][0][1]["metrics"][0]["untimed"] = 12_345_677
    recorder.merge(delta)
    assert " 12.3M " in line(recorder, "DELIVERY")
    assert " 12 345 678 " in line(recorder, "delivered")


@given(
    st.lists(
        st.builds(
            Sample,
            metric=st.sampled_from(METRICS) | st.just(Metric("LONGTYPE9", "n" * 40, "long")),
            latency_ns=st.none() | st.integers(0, 10**13),
            failure=st.none() | st.text("abcde ", min_size=1, max_size=120),
        )
    ),
    st.integers(0, 10**12),
)
def test_no_line_is_wider_than_a_terminal(samples: list[Sample], amount: int) -> None:
    """80 columns, whatever happened."""
    recorder = Recorder()
    for sample in samples:
        recorder.add(sample, 0)
    for name in COUNTS:
        recorder.count(name, amount, 1)
    assert max(map(len, lines_of(recorder))) <= 80


def steady_record() -> Record:
    """A run with all phases."""
    phases = Phases(float(START), warm_up_s=2)
    phases.connected(START + 1.5)
    phases.stop(START + 24.0)
    phases.end(START + 24.5)
    recorder = steady_run()
    for _ in range(600):
        recorder.add(Sample(SEND_TO_GROUP, 3 * MS), START + 5)
    return record_of(recorder, phases=phases)


def test_it_says_what_its_figures_cover() -> None:
    """How long each phase took, the window's percentiles, and by how much the p99 varied."""
    lines = summary_lines(steady_record())
    assert "phases: connect 1.5 s, warm-up 2.5 s, window 20.0 s, drain 0.5 s" in lines
    assert next(one for one in lines if one.startswith("ACK")).split()[-1] == "3.00"
    text = " ".join(lines)
    assert "sendToGroup 3.00 (2.00\u20133.00)" in text
    assert "latencies are of the window and its drain" in text
    [requests] = [one.split() for one in lines if one.startswith("requests")]
    assert requests == ["requests", "6", "600", "300.0"]
    assert max(map(len, lines)) <= 80


def test_a_run_without_a_window_says_so() -> None:
    """Its figures are of the whole run."""
    phases = Phases(float(START), warm_up_s=2)
    phases.end(START + 1.0)
    recorder = Recorder()
    recorder.add(Sample(SEND_TO_GROUP, MS), START)
    lines = summary_lines(record_of(recorder, phases=phases))
    assert "no steady state was reached: all figures are of the whole run" in lines


def test_thresholds_have_a_line_each() -> None:
    """With the value, and the part of the run that it is of."""
    record = steady_record()
    results = judge(parse_all("ack.p50<=2.1ms; rate.sent>=1000/s; echo.p99<1s"), record)
    lines = summary_lines(replace(record, thresholds=results))
    assert lines[lines.index("thresholds") + 1 :] == [
        "passed  ack.p50<=2.1ms  2.003 ms, of the window",
        "FAILED  rate.sent>=1000/s  300.0/s, of the window",
        "FAILED  echo.p99<1s  no data, of the window",
    ]


@pytest.mark.parametrize(
    ("state", "said"), [("running", "NOT OVER"), ("interrupted", "INTERRUPTED")]
)
def test_a_report_says_how_the_run_ended(state: str, said: str) -> None:
    """And what is in doubt, and where the load went."""
    lines = report_lines(record_of(steady_run(), state=state, doubts=["a worker was lost"]))
    assert any(one.startswith(said) for one in lines)
    assert "DOUBT: a worker was lost" in lines
    assert lines[-1].startswith("target: http://127.0.0.1:9 hub load")
