"""Ctrl-C loses nothing: what was under way is finished, counted and written."""

import os
import signal
import sys
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from locusting import Finished, running_locust
from serving import DEADLINE_S, StandIn

from wpsload.interrupt import one_ending

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process groups to signal")


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["alone", "two"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_complete(
    stand_in: StandIn, tmp_path: Path, number: signal.Signals, processes: tuple[str, ...]
) -> None:
    """A signal to all processes, as a terminal sends it, ends in figures that are exact."""
    prefix = tmp_path / "run"
    arguments = ("--headless", "--csv", str(prefix), "--users", "12", "--spawn-rate", "12")
    load = ("--wps-interval", "20ms", "--wps-group-size", "4", "--wps-payload-bytes", "200")
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    run = running_locust(
        "pubsub.py", *arguments, *load, *processes, folder=tmp_path, environ=environ
    )
    with run as process:
        while stand_in.stats()["acks_total"] < 400:
            assert process.poll() is None
        os.killpg(process.pid, number)
        said, _ = process.communicate(timeout=2 * DEADLINE_S)
    assert process.returncode == 130, said
    assert "Traceback" not in said, said
    stats = stand_in.stats()
    finished = Finished(process.returncode, said, prefix)
    acks = sum(finished.counts("ACK", name)[0] for name in ("joinGroup", "sendToGroup"))
    assert acks == stats["acks_total"], said
    assert finished.counts("DELIVERY", "group") == (stats["deliveries"], 0)
    assert stats["closed"] == {"1000": stats["connections_total"]}
    assert f"files: {prefix}_*.csv" in said
    seconds = finished.rows("pubsub_history")
    assert sum(float(row["acked_per_s"]) for row in seconds) == stats["acks_total"]


def test_a_second_ending_waits_for_the_first() -> None:
    """And if that ended without ending the process, it goes on."""
    listener = one_ending()
    order: list[str] = []
    is_first_in, may_end = Event(), Event()

    def first() -> None:
        listener()
        is_first_in.set()
        may_end.wait()
        listener()  # it is not kept out by itself
        order.append("first")

    def second() -> None:
        is_first_in.wait()
        gevent.spawn(may_end.set)
        listener()
        order.append("second")

    gevent.joinall([gevent.spawn(second), gevent.spawn(first)], timeout=DEADLINE_S)
    assert order == ["first", "second"]
