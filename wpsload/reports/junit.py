"""A run as JUnit XML, which continuous integration shows as tests: thresholds, rungs, the verdict.

The elements and attributes are those that are read everywhere: `testsuites`, `testsuite` and
`testcase` with `failure`, `error`, `skipped` and `system-out`, in the order of
https://github.com/testmoapp/junitxml, which describes what tools accept.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from wpsload.record import Record
from wpsload.reports.ladder_lines import rung_rows
from wpsload.rows import mark_of, shown_value, state_text, threshold_note
from wpsload.verdict import MEANING, Level, Verdict, verdict_lines

__all__ = ["junit_report"]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A test; `element` is what it has if it did not pass, and `text` says why."""

    name: str
    element: str = ""
    text: str = ""
    said: str = ""


def junit_report(record: Record) -> str:
    """One suite each for the verdict, the thresholds and the ladder, with what they found."""
    suites = [
        ("verdict", list(_verdict(record))),
        ("thresholds", list(_thresholds(record))),
        ("ladder", list(_rungs(record))),
    ]
    suites = [(name, cases) for name, cases in suites if cases]
    everything = [case for _, cases in suites for case in cases]
    length_s = sum(one.length_s for one in record.phases)
    time = {"time": f"{length_s:.3f}"}
    root = ET.Element("testsuites", {"name": "wpsload"} | _counts(everything) | time)
    for name, cases in suites:
        attributes = {"name": f"wpsload.{name}", "timestamp": _timestamp(record.started_s)}
        suite = ET.SubElement(root, "testsuite", attributes | _counts(cases) | time)
        for case in cases:
            _add(suite, f"wpsload.{name}", case)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(cases: Sequence[_Case]) -> dict[str, str]:
    counts = {"tests": str(len(cases))}
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[name] = str(sum(case.element == element for case in cases))
    return counts


def _add(suite: ET.Element, class_: str, case: _Case) -> None:
    test = ET.SubElement(suite, "testcase", name=_legal(case.name), classname=class_, time="0")
    if case.element:
        text = _legal(case.text)
        element = ET.SubElement(test, case.element, message=text)
        if case.element != "skipped":
            element.set("type", case.element)
            element.text = text
    if case.said:
        ET.SubElement(test, "system-out").text = _legal(case.said)


def _verdict(record: Record) -> Iterator[_Case]:
    """Whether the generator kept up, and whether its figures are complete."""
    name = "the generator kept up"
    if record.verdict is None:
        yield _Case(name=name, element="skipped", text="it was not judged")
    else:
        verdict = Verdict.from_dict(record.verdict)
        said = "\n".join(verdict_lines(verdict))
        element, text = "", ""
        if verdict.level is Level.INVALID:
            is_enforced = record.verdict.get("is_enforced", True)
            element = "failure" if is_enforced else "skipped"
            text = f"INVALID: {MEANING[verdict.level]}"
        yield _Case(name=name, element=element, text=text, said=said)
    doubts = [*([state_text(record)] if state_text(record) else []), *record.doubts]
    yield _Case(
        name="the figures are complete",
        element="error" if doubts else "",
        text="; ".join(doubts),
    )


def _thresholds(record: Record) -> Iterator[_Case]:
    mark = mark_of(record)
    for one in record.thresholds:
        measured = f"measured {shown_value(one, mark)}, {threshold_note(one)}"
        yield _Case(
            name=one.expression,
            element="" if one.passed else "failure",
            text="" if one.passed else f"{measured}; the limit is {one.expression}",
            said=measured,
        )


def _rungs(record: Record) -> Iterator[_Case]:
    if (ladder := record.ladder) is None:
        return
    elements = {"missed": "failure", "generator limit": "error", "unfinished": "skipped"}
    limit = " and ".join(ladder.objective)
    for row in rung_rows(record):
        rung = row.rung
        measured = f"delivery p99 {row.p99} ms, {rung.delivered_per_s:.1f}/s out, {rung.lost} lost"
        why = row.why or rung.outcome
        yield _Case(
            name=f"rung {rung.number}: {rung.connections} connections, {rung.in_per_s:g}/s in",
            element=elements.get(rung.outcome, ""),
            text=f"{why}; measured {measured}; the objective is {limit}",
            said=measured,
        )


def _timestamp(moment_s: float) -> str:
    try:
        return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00"


def _legal(text: str) -> str:
    """Without the characters that XML cannot hold at all."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
