"""A record says what it was made with."""

import os

from wpsload import __version__
from wpsload.engine import compiled
from wpsload.surroundings import machine, versions


def test_versions_are_those_installed() -> None:
    """Of what a figure depends on."""
    found = versions()
    assert found["wpsload"] == __version__
    assert found["compiled"] == ("no" if compiled() is None else "yes")
    assert found.keys() >= {"python", "locust", "gevent", "orjson"}


def test_the_machine_is_this_one() -> None:
    """As far as it tells."""
    assert machine().cores == os.cpu_count()
    assert machine().kernel
