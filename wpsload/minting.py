"""What commands that mint have in common: their options, and client URLs as these say."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wpsload.errors import ConfigError
from wpsload.names import validate_group, validate_hub, validate_role
from wpsload.units import parse_duration_s

if TYPE_CHECKING:
    from wpsload.tokens import ClientUrl, ConnectionString

__all__ = ["Minting", "groups_option", "hub_option", "roles_option", "ttl_option"]

_Option = Callable[[Callable[..., Any]], Callable[..., Any]]

hub_option: _Option = click.option(
    "--hub",
    envvar="WPS_HUB",
    show_envvar=True,
    default="load",
    show_default=True,
    help="Hub that the clients connect to.",
)
ttl_option: _Option = click.option(
    "--ttl",
    default="60m",
    show_default=True,
    metavar="DURATION",
    help="Lifetime, such as 90s, 60m or 1h30m.",
)
roles_option: _Option = click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="Role to grant, such as webpubsub.sendToGroup; repeatable.",
)
groups_option: _Option = click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="GROUP",
    help="Group that the client is in from the start; repeatable.",
)


@dataclass(frozen=True, slots=True)
class Minting:
    """What the options ask for, and the connection string whose key signs it."""

    connection: "ConnectionString"
    hub: str
    ttl_s: float
    roles: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def read(
        cls, *, hub: str, ttl: str, roles: tuple[str, ...], groups: tuple[str, ...]
    ) -> "Minting":
        """The values of the options, and the connection string of WPS_CONNECTION_STRING.

        Raises:
            ConfigError: if one of them is malformed, or the variable is not set.
        """
        from wpsload.tokens import ConnectionString

        text = os.environ.get("WPS_CONNECTION_STRING", "")
        if not text.strip():
            raise ConfigError(
                "WPS_CONNECTION_STRING is not set",
                hint="copy it from the portal under Keys; there is no option for it, because "
                "others can read the command line",
            )
        connection = ConnectionString.parse(text)
        validate_hub(hub, source="--hub")
        for role in roles:
            validate_role(role, source="--role")
        for group in groups:
            validate_group(group, source="--group")
        return cls(connection, hub, parse_duration_s(ttl), roles, groups)

    def client_url(self, user_id: str | None) -> "ClientUrl":
        """A client URL for a user, or an anonymous one, that is valid from now on.

        Raises:
            ConfigError: if the user id, the lifetime or the key is of no use.
        """
        from wpsload.tokens import mint

        return mint(
            self.connection,
            self.hub,
            now_s=datetime.now(UTC).timestamp(),
            ttl_s=self.ttl_s,
            user_id=user_id,
            roles=self.roles,
            groups=self.groups,
        )
