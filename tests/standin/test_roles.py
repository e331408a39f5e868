"""Roles and wildcard patterns. Source: protocol reference, 2.3."""

import pytest

from wpsload.standin.roles import Permissions


@pytest.mark.parametrize(
    ("role", "joins", "sends"),
    [
        ("webpubsub.joinLeaveGroup", {"g1", "g2", "g*"}, set()),
        ("webpubsub.joinLeaveGroup.g1", {"g1"}, set()),
        ("webpubsub.joinLeaveGroups.g*", {"g1", "g2", "g*"}, set()),
        ("webpubsub.sendToGroup", set(), {"g1", "g2", "g*"}),
        ("webpubsub.sendToGroup.g*", set(), {"g*"}),
        ("webpubsub.sendToGroups.g?", set(), {"g1", "g2", "g*"}),
        ("webpubsub.sendToGroups.******", set(), set()),
        ("webpubsub.SendToGroup", set(), set()),
        ("sendToGroup", set(), set()),
    ],
)
def test_roles(role: str, joins: set[str], sends: set[str]) -> None:
    """A role grants one action for any group, one group, or a pattern; literals never expand."""
    permissions = Permissions.from_roles([role])
    groups = {"g1", "g2", "g*"}
    assert joins == {group for group in groups if permissions.join.allows(group)}
    assert sends == {group for group in groups if permissions.send.allows(group)}


def test_an_invalid_pattern_is_skipped() -> None:
    """One bad role does not take away what the others grant."""
    roles = ["webpubsub.sendToGroups.******", "webpubsub.sendToGroups.g*"]
    assert Permissions.from_roles(roles).send.allows("g1")


def test_limits_per_action() -> None:
    """The first 10 patterns and 1,000 literal groups count, the rest grant nothing."""
    roles = [f"webpubsub.sendToGroup.l{n}" for n in range(1001)]
    roles += [f"webpubsub.sendToGroups.{letter}*" for letter in "abcdefghijk"]
    send = Permissions.from_roles(roles).send
    assert send.allows("l999")
    assert not send.allows("l1000")
    assert send.allows("j1")
    assert not send.allows("k1")
