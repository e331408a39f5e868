"""The page of a run: its numbers are the record's, no text is code, everyone can read it."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe import violations
from browsing import IS_THERE, MISSING, appear, chromium
from hypothesis import given
from hypothesis import strategies as st
from ladders import climb
from pages import drawn, parse
from recording import MS, START, record_of, steady_run
from selenium import webdriver
from serving import ROOT

from wpsload.metrics import CONNECT, DELIVERY, METRICS, Metric, Sample
from wpsload.phases import Phases
from wpsload.record import Event, Machine, Record, from_json, to_json
from wpsload.record_file import read_record
from wpsload.recorder import COUNTS, Recorder
from wpsload.reports.html import html_report
from wpsload.thresholds import judge, parse_all
from wpsload.verdict import SelfMeasurement
from wpsload.verdict import judge as judge_generator

EXAMPLE = ROOT / "reports" / "example" / "run.json"
EVIL = "\"'></script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"
INVALID = judge_generator(SelfMeasurement(), dropped=1).to_dict()


def example() -> Any:
    """The kept run as plain JSON, which no code of ours has looked at."""
    return json.loads(EXAMPLE.read_bytes())


def page_of(record: Record) -> Any:
    """Its page, parsed."""
    return parse(html_report(record))


def ms_of(cell: str) -> float:
    """The milliseconds in a cell."""
    return float(cell.replace(" ", ""))


def full_run(**fields: Any) -> Record:
    """A run with phases, failures, thresholds, a ledger, events and doubts; echoes took 7.77 ms."""
    recorder = steady_run(latency_ns=7_770_000)
    recorder.add(Sample(DELIVERY, None, "Forbidden"), START + 5)
    phases = Phases(float(START), warm_up_s=1.0)
    phases.connected(START + 2.0)
    phases.stop(START + 24.0)
    values: dict[str, Any] = {
        "ledger": {
            **dict.fromkeys(("acknowledged", "timed_out", "lost", "unanswered", "in_flight"), 1),
            **dict.fromkeys(("delivered", "missing", "duplicated", "out_of_order", "loss"), 2),
            **{"sent": 5, "expected": 6, "rejected": {"Forbidden": 3}},
        },
        "events": [Event(at_s=float(START), kind="stop", text="asked to stop")],
        "doubts": ["a disk was full"],
        "machine": Machine(cpu="a processor", cores=2, memory_bytes=2**34, kernel="Linux"),
    }
    record = record_of(recorder, phases=phases, **(values | fields))
    return replace(record, thresholds=judge(parse_all("ack.p99<5ms; loss==0"), record))


def test_the_series_is_drawn_and_tabled() -> None:
    """Each second of the kept run, on the line and below it."""
    data = example()
    page = page_of(read_record(EXAMPLE))
    columns = data["series"]["columns"]
    rows = page.table("Into the service")
    assert [cell.partition(",")[0] for cell in rows[0]] == ["time", "offered", "achieved", "acked"]
    for at, name in enumerate(("due", "achieved", "acked"), 1):
        assert [ms_of(row[at]) for row in rows[1:]] == columns[name]
        values = drawn(page.figure("Into the service"), at - 1)
        assert values == pytest.approx(columns[name], abs=max(columns[name]) / 500)
    delivered = drawn(page.figure("Out of the service"), 0)
    assert delivered == pytest.approx(columns["delivered"], abs=max(columns["delivered"]) / 500)


def test_percentiles_over_time_are_those_of_the_series() -> None:
    """To the digits that are shown, a dash where a second had none."""
    [series] = [one for one in example()["series"]["metrics"] if one["name"] == "group"]
    rows = page_of(read_record(EXAMPLE)).table("DELIVERY group")
    for at, name in enumerate(("p50", "p90", "p99", "p99.9", "max"), 1):
        wanted = series["latency_ns"][name]
        shown = [row[at] for row in rows[1:]]
        assert [one == "-" for one in shown] == [one is None for one in wanted]
        assert [ms_of(one) for one in shown if one != "-"] == pytest.approx(
            [one / MS for one in wanted if one is not None], rel=0.01
        )


def test_latencies_are_those_of_the_spans() -> None:
    """Of the rung that held: counts exactly, and the greatest value of its window and drain."""
    data = example()
    spans = [
        one
        for one in data["spans"]
        if one["phase"] in ("window", "drain") and one["rung"] == data["ladder"]["held"]
    ]
    found = [one for span in spans for one in span["metrics"] if one["name"] == "group"]
    table = page_of(read_record(EXAMPLE)).table("Latency in ms")
    [row] = [row for row in table if row[0] == "DELIVERY group"]
    assert ms_of(row[-2]) == sum(sum(one["latency"]["counts"]) for one in found)
    assert ms_of(row[-3]) == pytest.approx(
        max(one["latency"]["max_ns"] for one in found) / MS, rel=0.01
    )


def test_the_distribution_ends_where_samples_do() -> None:
    """No percentile that fewer than ten samples lie beyond, but the greatest value."""
    recorder = Recorder()
    recorder.mark("window", START)
    for number in range(1, 2001):
        recorder.add(Sample(DELIVERY, number * MS), START)
    rows = page_of(record_of(recorder)).table("Latency by percentile")
    assert [row[0] for row in rows[1:]] == [
        *("least", "50 %", "75 %", "90 %", "95 %", "99 %"),
        "greatest",
    ]
    assert [ms_of(row[1]) for row in rows[1:]] == pytest.approx(
        [1, 1000, 1500, 1800, 1900, 1980, 2000], rel=0.01
    )


def test_a_ladder_has_its_rungs_and_its_knee() -> None:
    """Headline, published figure, objective, and each rung with what became of it."""
    page = page_of(climb())
    header = page.root.all("header")[0].text
    assert "200 connections, 18 messages/s in, 2 000 out, delivery p99 = 23.0 ms" in header
    assert "50 % of the published 4 000" in header
    rows = page.table("Delivered by rung")
    assert [row[1] for row in rows[1:]] == ["held", "held", "missed", "generator limit"]
    assert [ms_of(row[5]) for row in rows[1:]] == [1000, 2000, 3000, 4000]
    figure = page.figure("Delivered by rung")
    assert drawn(figure, 0) == pytest.approx([1000, 2000, 3000, 4000], abs=9)
    assert "The knee is rung 2" in figure.text
    assert "published: 4 000/s" in figure.text
    lateness = page.figure("Delivery p99 by rung")
    assert "objective: 30.0 ms" in lateness.text
    assert [row[2] for row in page.table("Delivery p99 by rung")[1:]] == [
        *("13.0", "23.0", "33.0"),
        "~43.0",
    ]
    for shown, signs in ((figure, "✓✓✗G"), (lateness, "✓✓✗~")):
        assert "".join(one.all("text")[0].text for one in shown.all("g")) == signs


def test_an_invalid_run_has_no_bare_latency() -> None:
    """Every latency is struck out and marked, in tables and in what the pointer tells."""
    assert "~" not in html_report(full_run()).partition("</style>")[2]
    text = html_report(full_run(verdict=INVALID))
    shown = re.findall(r"(\S{0,4})\b7\.77", text)
    assert len(shown) > 20
    assert {one for one in shown if not one.endswith(("~<s>", "~"))} == set()
    page = parse(text)
    assert "INVALID" in page.root.all("header")[0].text
    assert "INVALID" in page.figure("ACK sendToGroup").all("svg")[-2].text
    assert "INVALID" in page.figure("Latency by percentile").all("svg")[-2].text


def spoilt(value: Any) -> Any:
    """JSON whose strings are all evil, but those that are one of a few words."""
    words = {*COUNTS, "connect", "warm-up", "window", "drain", "finished", "run", "ns", "count"}
    if isinstance(value, str):
        return value if value in words else EVIL
    if isinstance(value, list):
        return [spoilt(one) for one in value]
    if isinstance(value, dict):
        return {name: spoilt(one) for name, one in value.items()}
    return value


def test_what_a_record_says_is_never_code() -> None:
    """Whatever text it brings is text on the page."""
    record = full_run(verdict=INVALID | {"reasons": [{"level": 0, "text": "", "hint": ""}]})
    data = json.loads(to_json(record))
    kept = {name: data[name] for name in ("format", "version", "series")}
    data = spoilt(data) | kept
    data["options"] = {EVIL: EVIL}
    data["versions"] = {EVIL: EVIL}
    data["ledger"]["rejected"] = {EVIL: 1}
    data["verdict"] = {
        "level": "INVALID",
        "figures": EVIL,
        "reasons": [{"level": "INVALID", "text": EVIL, "hint": EVIL}],
    }
    page = parse(html_report(from_json(json.dumps(data).encode(), source="run.json")))
    elements = page.root.all("body")[0]
    for tag in ("script", "img", "iframe", "object", "style", "link"):
        assert elements.all(tag) == []
    assert page.root.all("body")[0].text.count(EVIL) > 10


def test_it_needs_nothing_else() -> None:
    """No script, no address to fetch, and a policy that forbids both; the example is small."""
    text = html_report(read_record(EXAMPLE))
    page = parse(text)
    assert page.root.all("script") == []
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^">\s)]+)', text)
    assert {one for one in sources if not one.startswith(("#", "data:,"))} == set()
    assert "default-src 'none'" in text
    assert len(text.encode()) < 200_000


def test_a_day_is_less_than_a_megabyte() -> None:
    """However long a run is: its points stand for several seconds then."""
    record = read_record(EXAMPLE)
    times = 86_400 // len(record.series.second) + 1
    series = record.series
    long = replace(
        record,
        series=replace(
            series,
            second=list(range(START, START + times * len(series.second))),
            users=series.users * times,
            columns={name: column * times for name, column in series.columns.items()},
            metrics=[
                replace(
                    one,
                    successes=one.successes * times,
                    failures=one.failures * times,
                    latency_ns={name: column * times for name, column in one.latency_ns.items()},
                )
                for one in series.metrics
            ],
        ),
    )
    text = html_report(long)
    assert len(text.encode()) < 1_000_000
    assert "Each point is the worst second of" in text


def test_a_scenario_may_have_any_number_of_measurements() -> None:
    """All are in the tables; those with the most samples are drawn over time."""
    recorder = Recorder()
    recorder.mark("window", START)
    for number in range(50):
        metric = Metric("ACK", f"own{number:02}", "a scenario's own")
        for _ in range(11 + number):
            recorder.add(Sample(metric, MS), START)
    page = page_of(record_of(recorder))
    assert len(page.table("Latency in ms")) == 1 + 50
    titles = [one.text for one in page.root.all("h3") if one.text.startswith("ACK")]
    assert titles == [f"ACK own{number}" for number in range(49, 43, -1)]
    lines = page.figure("Latency by percentile").all("path")
    assert len(lines) == 50
    assert {one.attributes["class"] for one in lines} == {f"s{style}" for style in range(1, 7)}


@pytest.mark.parametrize(("count", "median"), [(10, "-"), (40, "20.0")])
def test_a_median_has_samples_beyond_it(count: int, median: str) -> None:
    """Of connecting as well, where they are few."""
    recorder = Recorder()
    for number in range(1, count + 1):
        recorder.add(Sample(CONNECT, number * MS), START)
    page = page_of(record_of(recorder))
    assert f"connect median {median}, most {count}.0 ms" in page.figure("Phases of connecting").text
    assert page.table("Phases of connecting")[1][3] == median


SAMPLES = st.builds(
    Sample,
    metric=st.sampled_from([*METRICS, Metric("ACK", "custom", "a scenario's own")]),
    latency_ns=st.none() | st.integers(0, 10**13),
    failure=st.none() | st.text(max_size=9),
)


@given(
    st.lists(st.tuples(SAMPLES, st.integers(START, START + 40)), max_size=30),
    st.sampled_from([None, INVALID]),
)
def test_any_record_has_a_page(entries: list[tuple[Sample, int]], verdict: Any) -> None:
    """With next to nothing in it, too: the end of a run must not fail for its report."""
    recorder = Recorder()
    recorder.mark("connect", START)
    recorder.mark("window", START + 5)
    for sample, second in entries:
        recorder.add(sample, second)
    assert page_of(record_of(recorder, verdict=verdict)).root.all("h1")


# In a browser

needs_browser = pytest.mark.skipif(not IS_THERE, reason=MISSING)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """One for all pages."""
    with chromium() as driver:
        yield driver


@pytest.fixture(params=["example", "full", "invalid", "ladder"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a page."""
    records: dict[str, Callable[[], Record]] = {
        "example": lambda: read_record(EXAMPLE),
        "full": full_run,
        "invalid": lambda: full_run(
            verdict=INVALID, target="x" * 300, state="interrupted", scenario=EVIL
        ),
        "ladder": climb,
    }
    file = tmp_path / "report.html"
    file.write_text(html_report(records[request.param]()), encoding="utf-8")
    return file.as_uri()


def visit(browser: webdriver.Chrome, page: str, *, width: int, scheme: str) -> None:
    """Open a page with all that can be opened on it."""
    appear(browser, width=width, height=900, scheme=scheme)
    browser.get(page)
    opening = "document.querySelectorAll('details').forEach(one => one.open = true)"
    browser.execute_script(opening)


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(browser: webdriver.Chrome, page: str, width: int) -> None:
    """Tables scroll in themselves, plots and long words do not push; the console is silent."""
    visit(browser, page, width=width, scheme="light")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    too_wide = browser.execute_script(
        "return [...document.querySelectorAll('body *')]"
        ".filter(one => !one.closest('.scroll') && one.getBoundingClientRect().right > innerWidth)"
        ".map(one => one.outerHTML.slice(0, 200))"
    )
    assert too_wide == []
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]  # selenium's


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: webdriver.Chrome, page: str, scheme: str) -> None:
    """Contrast, names, heads of tables, regions that scroll."""
    visit(browser, page, width=360, scheme=scheme)
    found = violations(browser)
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []


@needs_browser
def test_colours_follow_the_reader(browser: webdriver.Chrome, page: str) -> None:
    """Dark where that is preferred."""
    backgrounds = []
    for scheme in ("light", "dark"):
        visit(browser, page, width=1280, scheme=scheme)
        backgrounds.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    assert backgrounds == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]
