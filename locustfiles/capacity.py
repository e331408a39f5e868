"""Climb a ladder of connections and message rates until the service misses its objective.

    locust -f locustfiles/capacity.py --headless

Each rung has settle, measure and drain parts. The defaults are the group scenario of the service's
performance guide: groups of 10, messages of 2,048 bytes, one a second from each sender, and 99 % of
them delivered within a second, none lost. `--wps-ladder`, `--wps-slo` and `--wps-units` change it.
"""

from wpsload.capacity import CapacityUser, Ladder


class GroupMember(CapacityUser):
    """A member of a group that sends to it if the rung wants that many senders."""


class Climb(Ladder):
    """Stops at the first rung that misses the objective."""
