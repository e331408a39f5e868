"""Markdown for a comment: short, and nothing in it formats, calls anybody or breaks a table."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from ladders import climb
from recording import MS, START, record_of, steady_run
from serving import ROOT

from wpsload.metrics import METRICS, SEND_TO_GROUP, Metric, Sample
from wpsload.record import Record
from wpsload.record_file import read_record
from wpsload.recorder import Recorder
from wpsload.reports.markdown import markdown_report
from wpsload.thresholds import judge, parse_all
from wpsload.verdict import Level, Reason, SelfMeasurement, Verdict
from wpsload.verdict import judge as judge_generator

LIMIT = 66  # lines: more than that is folded away on a pull request


def rows(text: str) -> list[list[str]]:
    """The cells of all tables."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.strip() for cell in row] for row in cells]


def test_the_example_has_its_figures() -> None:
    """The rows are those of the text summary."""
    record = read_record(ROOT / "reports" / "example")
    text = markdown_report(record)
    assert len(text.splitlines()) <= LIMIT
    [delivery] = [row for row in rows(text) if row[0] == "DELIVERY group"]
    summary = (ROOT / "reports" / "example" / "report.txt").read_text(encoding="utf-8")
    figures = re.findall(r"^DELIVERY group +(.*)$", summary, re.M)[0].split()
    assert " ".join(delivery[1:]).replace("\\-", "-").split() == figures


def test_the_ladder_is_one_line() -> None:
    """Above all figures."""
    text = markdown_report(climb())
    line = "**200 connections, 18 messages/s in, 2 000 out, delivery p99 = 23.0 ms**"
    assert text.index(line) < text.index("latency in ms")
    assert "50 % of the published" in text


def worst() -> Record:
    """As much of everything as there can be."""
    recorder = steady_run()
    for metric in [*METRICS, *(Metric("ACK", f"own{number}", "") for number in range(20))]:
        recorder.add(Sample(metric, MS), START + 9)
        recorder.add(Sample(metric, None, f"failure {metric.name}"), START + 9)
    reasons = tuple(Reason(Level.INVALID, f"reason {number}", "hint") for number in range(9))
    record = record_of(
        recorder,
        verdict=Verdict(Level.INVALID, reasons, "").to_dict(),
        doubts=["a doubt"] * 9,
        ladder=climb().ladder,
        state="interrupted",
    )
    return replace(record, thresholds=judge(parse_all("ack.p99<1ms;" * 40), record))


def test_it_is_short_whatever_happened() -> None:
    """What is left out is counted."""
    text = markdown_report(worst())
    assert len(text.splitlines()) <= LIMIT
    assert "and 30 more" in text


def test_an_invalid_run_has_no_bare_latency() -> None:
    """Every figure is marked, escaped so that nothing is struck out by chance."""
    invalid = judge_generator(SelfMeasurement(), dropped=1).to_dict()
    record = record_of(steady_run(latency_ns=7_770_000), verdict=invalid)
    record = replace(record, thresholds=judge(parse_all("ack.p99<1s"), record))
    shown = re.findall(r"(\S*)\b7\.77", markdown_report(record))
    assert len(shown) > 3
    assert set(shown) == {"\\~"}


def test_no_text_is_more_than_text() -> None:
    """Nobody is called, nothing is linked, and a table keeps its columns."""
    evil = "a|b `c` *d* <img src=x> [e](f) @everyone #12 ![g](h)\n# i"
    recorder = Recorder()
    recorder.add(Sample(SEND_TO_GROUP, MS), START)
    recorder.add(Sample(SEND_TO_GROUP, None, evil), START)
    recorder.add(Sample(Metric("ACK", evil, evil), MS), START)
    text = markdown_report(record_of(recorder, doubts=[evil], target=evil, scenario=evil))
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text.replace("\\`", ""))
    for sign in ("@everyone", "#12", "\n# i"):
        assert sign not in outside_code
    assert not re.search(r"(?<!\\)(\[e|\*d|<img)", outside_code)
    widths = {len(row) for row in rows(text)}
    assert widths <= {3, 8}


@given(st.text())
def test_any_target_stays_in_its_line(target: str) -> None:
    """However it is written."""
    lines = markdown_report(record_of(steady_run(), target=target)).splitlines()
    assert lines[0].startswith("### ")
    assert lines[2].startswith("`made-up` on ")
    assert lines[2].endswith("UTC")
