"""A record comes back as it was written, and what is no record is refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import MS, record_of, steady_run

from wpsload.errors import ConfigError
from wpsload.histogram import Histogram
from wpsload.metrics import METRICS, Metric, Sample
from wpsload.record import SECTIONS, HistogramData, Record, from_json, to_json, with_section
from wpsload.recorder import Recorder

SAMPLES = st.builds(
    Sample,
    metric=st.sampled_from([*METRICS, Metric("ACK", "custom", "a scenario's own")]),
    latency_ns=st.none() | st.integers(0, 10**13),
    failure=st.none() | st.text(max_size=9),
    is_answered=st.booleans(),
)


def fields(record: Record) -> Any:
    """The record as JSON that can be spoilt."""
    return json.loads(to_json(record))


def read(data: Any) -> Record:
    """The record of what may have been spoilt."""
    return from_json(json.dumps(data).encode(), source="run.json")


@given(st.lists(st.tuples(SAMPLES, st.integers(0, 40)), max_size=30), st.integers(0, 9))
def test_a_record_comes_back(entries: list[tuple[Sample, int]], window: int) -> None:
    """To the last count and nanosecond, and the bytes are the same again."""
    recorder = Recorder()
    recorder.mark("connect", 0)
    recorder.mark("window", window)
    for sample, second in entries:
        recorder.add(sample, second)
    record = record_of(recorder, doubts=["a doubt"])
    written = to_json(record)
    assert from_json(written, source="run.json") == record
    assert to_json(from_json(written, source="run.json")) == written


@given(st.lists(st.integers(0, 10**13), max_size=50))
def test_histograms_keep_all_they_have(values_ns: list[int]) -> None:
    """A record can be merged with another as if it had been one run."""
    histogram = Histogram()
    histogram.record_all(values_ns)
    assert HistogramData.of(histogram).histogram() == histogram


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("state",), "over", r"\$\.state"),
        (("spans", 0, "seconds"), "2", r"\$\.spans\[0\]\.seconds"),
        (("spans", 0, "metrics", 0, "latency", "counts"), [1], r"\$\.spans\[0\]\.metrics\[0\]"),
        (("spans", 0, "metrics", 0, "latency", "buckets_per_octave"), 64, "128"),
        (("series", "users"), [1], "'users' has 1 values"),
        (("phases",), [{"name": "window", "start_s": 1, "length_s": -1}], r"\$\.phases\[0\]"),
        (("verdict",), "VALID", r"\$\.verdict"),
        (("format",), "another", "'another'"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str | int, ...], value: object, said: str) -> None:
    """One line says where it is."""
    data = fields(record_of(steady_run()))
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=said) as caught:
        read(data)
    assert "run.json" in caught.value.message
    assert caught.value.hint


def test_a_newer_version_is_refused() -> None:
    """Rather than misread, with what to do about it."""
    with pytest.raises(ConfigError, match="version 2, this release reads 1") as caught:
        read(fields(record_of(steady_run())) | {"version": 2, "spans": "something new"})
    assert "upgrade" in str(caught.value.hint)


def test_unknown_fields_are_ignored() -> None:
    """A later release of the same version may add some."""
    record = record_of(steady_run())
    assert read(fields(record) | {"colour": "blue"}) == record


@given(st.binary(max_size=40))
def test_what_is_no_record_is_an_error(data: bytes) -> None:
    """Never a traceback, whatever is in the file."""
    with pytest.raises(ConfigError):
        from_json(data, source="run.json")


@pytest.mark.parametrize("cut", [2, 100, 1000])
def test_half_a_record_is_an_error(cut: int) -> None:
    """A copy that broke off is no run."""
    with pytest.raises(ConfigError, match="not JSON"):
        from_json(to_json(record_of(steady_run(latency_ns=MS)))[:-cut], source="run.json")


def test_sections_are_set_one_by_one() -> None:
    """Any JSON object will do, in a section that exists."""
    record = record_of(Recorder())
    for name in SECTIONS:
        record = with_section(record, name, {"of": name})
    assert [getattr(record, name) for name in SECTIONS] == [{"of": name} for name in SECTIONS]
    assert read(fields(record)) == record
    with pytest.raises(ValueError, match="diary"):
        with_section(record, "diary", {})
