"""What the performance guide publishes is found for its own scenarios, and for no other."""

import pytest

from wpsload.published import published


@pytest.mark.parametrize(
    ("units", "in_per_s"),
    [(1, 200), (2, 400), (5, 1000), (50, 10_000), (100, 10_000), (200, 20_000), (1000, 100_000)],
)
def test_small_groups(units: int, in_per_s: int) -> None:
    """Groups of ten: linear up to 50 units, and as printed above."""
    found = published(
        units, connections=units * 1000, group_size=10, payload_bytes=2048, is_no_echo=False
    )
    assert found is not None
    assert (found.connections, found.in_per_s, found.out_per_s) == (
        units * 1000,
        in_per_s,
        in_per_s * 10,
    )


@pytest.mark.parametrize("units", [1, 10, 1000])
def test_big_groups(units: int) -> None:
    """Ten groups of all: 30 messages a second at every size."""
    found = published(units, connections=1000, group_size=100, payload_bytes=2048, is_no_echo=False)
    assert found is not None
    assert (found.in_per_s, found.out_per_s) == (30, 3000 * units)


@pytest.mark.parametrize(
    ("units", "group_size", "payload_bytes", "is_no_echo"),
    [(1, 10, 1024, False), (1, 10, 2048, True), (1, 7, 2048, False), (70, 10, 2048, False)],
)
def test_nothing_is_made_up(
    units: int, group_size: int, payload_bytes: int, is_no_echo: bool
) -> None:
    """Another size, no echo, another kind of group, or units that it does not print."""
    assert (
        published(
            units,
            connections=1000,
            group_size=group_size,
            payload_bytes=payload_bytes,
            is_no_echo=is_no_echo,
        )
        is None
    )
