"""What a client may do: roles of a token, compiled into permissions for groups.

Source: protocol reference, 2.3; the service's documentation of wildcard group roles.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wpsload.names import compile_pattern

__all__ = ["GroupRule", "Permissions"]

MAX_PATTERNS = 10
MAX_LITERALS = 1000
"""Patterns and literal groups that count for one action; the rest are ignored.
Source: protocol reference, 2.3."""


@dataclass(frozen=True, slots=True)
class GroupRule:
    """The groups for which one action is allowed."""

    is_any: bool = False
    literals: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()

    def allows(self, group: str) -> bool:
        """True if the action is allowed for `group`; case counts."""
        return (
            self.is_any
            or group in self.literals
            or any(pattern.fullmatch(group) for pattern in self.patterns)
        )


def _rule(action: str, roles: Iterable[str]) -> GroupRule:
    any_group = f"webpubsub.{action}"
    one_group = f"webpubsub.{action}."
    many_groups = f"webpubsub.{action}s."
    is_any = False
    literals: dict[str, None] = {}
    patterns: list[re.Pattern[str]] = []
    for role in roles:
        if role == any_group:
            is_any = True
        elif role.startswith(one_group):
            literals[role.removeprefix(one_group)] = None
        elif role.startswith(many_groups):
            pattern = compile_pattern(role.removeprefix(many_groups))
            if pattern is not None:  # an invalid pattern is skipped, not fatal
                patterns.append(pattern)
    return GroupRule(
        is_any, frozenset(list(literals)[:MAX_LITERALS]), tuple(patterns[:MAX_PATTERNS])
    )


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the roles of one token allow; roles that are not known grant nothing."""

    join: GroupRule = GroupRule()
    send: GroupRule = GroupRule()

    @classmethod
    def from_roles(cls, roles: Iterable[str]) -> "Permissions":
        """Permissions of a client that holds `roles`."""
        roles = tuple(roles)
        return cls(_rule("joinLeaveGroup", roles), _rule("sendToGroup", roles))
