"""Records for tests, of what a recorder was given."""

from typing import Any

from wpsload.metrics import CONNECT, DELIVERY, SEND_TO_GROUP, Sample
from wpsload.phases import Phases
from wpsload.record import Machine, Record
from wpsload.recorder import Recorder
from wpsload.timeline import Timeline, spans_of

__all__ = ["MS", "START", "record_of", "steady_run"]

MS = 1_000_000
START = 1_790_000_000


def record_of(recorder: Recorder, *, phases: Phases | None = None, **fields: Any) -> Record:
    """The record of a run that is over, in the middle of nowhere."""
    timeline = Timeline()
    values: dict[str, Any] = {
        "state": "finished",
        "scenario": "made-up",
        "started_s": float(START),
        "written_s": float(START + 60),
        "target": "http://127.0.0.1:9 hub load (from WPS_CONNECTION_STRING)",
        "plan": "a message every 1s",
        "options": {"wps-drain": "5s"},
        "versions": {"wpsload": "0"},
        "machine": Machine(),
        "command": ["locust"],
        "phases": phases.phases(START + 60.0) if phases else [],
        "spans": spans_of(recorder, into=5),
        "series": timeline.series((second, None) for second in recorder.seconds()),
    }
    return Record(**(values | fields))


def steady_run(*, seconds: int = 20, latency_ns: int = 2 * MS) -> Recorder:
    """Two seconds of connecting, two of warm-up with slow messages, then a steady window."""
    recorder = Recorder()
    for phase, at in (("connect", 0), ("warm-up", 2), ("window", 4), ("drain", 4 + seconds)):
        recorder.mark(phase, START + at)
    for number in range(4):
        recorder.count("opened", 1, START)
        recorder.add(Sample(CONNECT, (number + 1) * MS), START)
    for at in range(2, 4 + seconds):
        for _ in range(300):
            recorder.add(Sample(SEND_TO_GROUP, 100 * MS if at < 4 else latency_ns), START + at)
        recorder.count("sent", 300, START + at)
    recorder.add(Sample(DELIVERY, 900 * MS), START + 4 + seconds)
    return recorder
