"""JUnit XML as CI reads it: counts that add up, and failures that say what was measured."""

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ladders import climb
from recording import MS, record_of, steady_run

from wpsload.record import Record
from wpsload.reports.junit import junit_report
from wpsload.thresholds import judge, parse_all
from wpsload.verdict import SelfMeasurement
from wpsload.verdict import judge as judge_generator

INVALID = judge_generator(SelfMeasurement(), dropped=1).to_dict()
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors", "skipped"}, ["testsuite"]),
    "testsuite": (
        {"name", "time", "timestamp", "tests", "failures", "errors", "skipped"},
        ["testcase"],
    ),
    "testcase": (
        {"name", "classname", "time"},
        ["skipped", "error", "failure", "system-out"],
    ),
    "failure": ({"message", "type"}, []),
    "error": ({"message", "type"}, []),
    "skipped": ({"message"}, []),
    "system-out": (set(), []),
}
"""Attributes, and children in their order, that continuous integration commonly reads."""


def read(record: Record) -> ET.Element:
    """The report of a record, once it is found to be in order."""
    root = ET.fromstring(junit_report(record))  # noqa: S314  # we have just written it
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places)
    for group in (root, *root.iter("testsuite")):
        assert int(group.attrib["tests"]) == len(list(group.iter("testcase")))
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(group.attrib[count]) == len(list(group.iter(tag)))
    return root


def cases(record: Record, suite: str) -> dict[str, dict[str, str]]:
    """By the name of each case its children, with the message or text that they have."""
    return {
        case.attrib["name"]: {
            child.tag: child.attrib.get("message") or child.text or "" for child in case
        }
        for one in read(record).iter("testsuite")
        if one.attrib["name"] == f"wpsload.{suite}"
        for case in one
    }


def judged(**fields: Any) -> Record:
    """A run of 2 ms with a threshold that is met, one that is missed and one without data."""
    record = record_of(steady_run(), **fields)
    expressions = parse_all("ack.p99<1s; ack.p50<1ms; echo.p99<1s")
    fields["thresholds"] = judge(expressions, record)
    return record_of(steady_run(), **fields)


def test_a_case_for_each_threshold() -> None:
    """A failure says the measured value and the limit."""
    found = cases(judged(), "thresholds")
    assert [*found] == ["ack.p99<1s", "ack.p50<1ms", "echo.p99<1s"]
    assert found["ack.p99<1s"].keys() == {"system-out"}
    failure = found["ack.p50<1ms"]["failure"]
    assert failure.startswith("measured 2.0")
    assert failure.endswith("the limit is ack.p50<1ms")
    assert "no data" in found["echo.p99<1s"]["failure"]


def test_a_case_for_each_rung() -> None:
    """Missed is a failure, the limit of the generator an error, each with its figures."""
    found = cases(climb(), "ladder")
    assert [*map(set, found.values())] == [
        {"system-out"},
        {"system-out"},
        {"failure", "system-out"},
        {"error", "system-out"},
    ]
    failure = found["rung 3: 300 connections, 30/s in"]["failure"]
    assert "measured delivery p99 33.0 ms, 3000.0/s out, 2 lost" in failure
    assert "the objective is delivery.p99<30ms and loss==0" in failure
    assert "p99 ~43.0 ms" in found["rung 4: 400 connections, 40/s in"]["error"]


@pytest.mark.parametrize(
    ("verdict", "tag"),
    [
        (judge_generator(SelfMeasurement(), is_live=True).to_dict(), "system-out"),
        (judge_generator(SelfMeasurement()).to_dict(), "system-out"),
        (INVALID, "failure"),
        (INVALID | {"is_enforced": False}, "skipped"),
        (None, "skipped"),
    ],
    ids=["VALID", "SUSPECT", "INVALID", "INVALID, not enforced", "not judged"],
)
def test_a_case_for_the_verdict(verdict: Any, tag: str) -> None:
    """As the exit code has it: what is not enforced fails nothing, and is not passed either."""
    found = cases(record_of(steady_run(), verdict=verdict), "verdict")
    assert next(iter(found["the generator kept up"])) == tag
    assert found["the figures are complete"] == {}


def test_what_is_incomplete_is_an_error() -> None:
    """A doubt, or a run that was broken off."""
    record = record_of(steady_run(), doubts=["a disk was full"], state="interrupted")
    text = cases(record, "verdict")["the figures are complete"]["error"]
    assert "INTERRUPTED" in text
    assert "a disk was full" in text


def test_an_invalid_run_has_no_bare_latency() -> None:
    """The measured value has its mark, passed or not."""
    text = junit_report(judged(verdict=INVALID))
    assert "measured ~2.0" in text
    assert "measured 2.0" not in text


@given(st.text())
def test_any_text_is_xml(text: str) -> None:
    """What XML cannot hold is replaced."""
    text = text.encode(errors="replace").decode()
    record = record_of(steady_run(latency_ns=MS), doubts=[json.loads(json.dumps(text))])
    found = cases(record, "verdict")["the figures are complete"]
    assert found.keys() == {"error"}
