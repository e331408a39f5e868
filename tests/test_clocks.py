"""Workers whose clocks differ: deliveries between them are timed, and how exactly is said."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from locusting import command, environment, free_port
from serving import DEADLINE_S, StandIn

from wpsload.figures import figures_of
from wpsload.metrics import DELIVERY
from wpsload.record import Record, from_json
from wpsload.units import NS_PER_S

AHEAD_S = 86_400
OTHER_CLOCK = ("unshare", "--time", "--monotonic", str(AHEAD_S), "--fork")


def can_have_another_clock() -> bool:
    """Linux gives a process a clock of its own to who may ask for it."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run((*OTHER_CLOCK, "true"), capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not can_have_another_clock(), reason="needs time namespaces, and the right to make one"
)


def run_workers(stand_in: StandIn, folder: Path, prefixes: Sequence[Sequence[str]]) -> str:
    """A master and a worker behind each of `prefixes`, 20 users in one group; what was said."""
    port = str(free_port())
    environ = environment({"WPS_CONNECTION_STRING": stand_in.connection_string})
    workers = []
    for number, prefix in enumerate(prefixes):
        place = folder / f"worker{number}"
        place.mkdir()
        worker = command("pubsub.py", "--worker", "--master-port", port)
        workers.append(subprocess.Popen([*prefix, *worker], cwd=place, env=environ))
    master = command(
        "pubsub.py",
        *("--headless", "--master", "--master-bind-port", port),
        *("--expect-workers", str(len(workers)), "--users", "20", "--spawn-rate", "20"),
        *("--run-time", "12s", "--wps-group-size", "20", "--wps-payload-bytes", "200"),
    )
    try:
        done = subprocess.run(
            master,
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=6 * DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        for one in workers:
            one.wait(DEADLINE_S)
    finally:
        for one in workers:
            one.kill()
            one.wait()
    return done.stdout


def record_in(folder: Path) -> Record:
    """The record of the one run."""
    [path] = folder.glob("reports/*/run.json")
    return from_json(path.read_bytes(), source=str(path))


def test_a_worker_a_day_ahead(stand_in: StandIn, tmp_path: Path) -> None:
    """Its offset is found within what is said, and every delivery has a latency that can be."""
    said = run_workers(stand_in, tmp_path, [(), OTHER_CLOCK])
    record = record_in(tmp_path)
    assert record.clocks is not None
    offsets = sorted(one["offset_ns"] for one in record.clocks["offsets"].values())
    uncertainty_ns = max(one["uncertainty_ns"] for one in record.clocks["offsets"].values())
    assert len(offsets) == 2
    assert offsets[1] == 0  # the first worker has the master's clock
    assert abs(offsets[0] + AHEAD_S * NS_PER_S) <= uncertainty_ns
    assert 0 < record.clocks["uncertainty_ns"] < NS_PER_S
    deliveries = figures_of(record).run.metrics[DELIVERY]
    assert deliveries.latency.count == deliveries.successes > 1000
    assert deliveries.latency.quantile(0.9) < NS_PER_S  # type: ignore[operator]  # there are some
    assert "clocks of 2 machines: deliveries between them are timed within" in said
    books = record.ledger
    assert books is not None
    assert books["missing"] == books["duplicated"] == 0


def test_one_clock_is_no_matter(stand_in: StandIn, tmp_path: Path) -> None:
    """Workers of one machine share its clock: exactly, and without a word."""
    said = run_workers(stand_in, tmp_path, [(), ()])
    assert record_in(tmp_path).clocks is None
    assert "clocks of" not in said
    assert "≈" not in said
