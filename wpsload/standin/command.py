"""The `wpsload serve` command: options in, a connection string out."""

import asyncio
import ipaddress
import os
import re
import secrets
import textwrap

import click
import orjson

from wpsload.arguments import Duration, Rate, WholeNumber
from wpsload.errors import ConfigError
from wpsload.standin.faults import FAULTS, parse_fault
from wpsload.subprotocol import MAX_MESSAGE_BYTES

__all__ = ["ACCESS_KEY_VARIABLE", "serve"]

ACCESS_KEY_VARIABLE = "WPS_SERVE_ACCESS_KEY"
_ACCESS_KEY = re.compile(r"[!-:<-~]+")  # visible ASCII without the semicolon
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to print, not to bind


def _list_faults() -> str:
    r"""The faults and their settings for the end of the help; `\b` keeps click from wrapping."""
    lines = ["\b", "Faults, each upon every Nth opportunity of its kind:"]
    for name, kind in FAULTS.items():
        if kind.opportunity is not None:
            lines += [*_describe(name), f"      N counts: {kind.opportunity}"]
    lines += ["", "\b", "Faults that strike once, T after the first connection:"]
    for name, kind in FAULTS.items():
        if kind.opportunity is None:
            lines += _describe(name)
    return "\n".join(lines)


def _describe(name: str) -> list[str]:
    kind = FAULTS[name]
    settings = ",".join(f"{key}={setting.sample}" for key, setting in kind.keys.items())
    indent = " " * 6
    meaning = textwrap.wrap(kind.meaning, 78, initial_indent=indent, subsequent_indent=indent)
    return [f"  {name}:{settings}", *meaning]


def _is_loopback(host: str) -> bool:
    """True if nobody on another machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _access_key() -> str:
    """The key to sign with: from the environment, or a new one.

    Raises:
        ConfigError: if the given one could not stand in a connection string, or cannot sign.
    """
    from wpsload.signing import InvalidKey, sign

    given = os.environ.get(ACCESS_KEY_VARIABLE)
    if not given:
        return secrets.token_urlsafe(48)
    try:
        if _ACCESS_KEY.fullmatch(given):
            sign({}, given.encode())
            return given
    except InvalidKey:
        pass  # it looks like a key of another kind
    raise ConfigError(
        f"{ACCESS_KEY_VARIABLE} cannot be used as an access key",
        hint="use letters, digits and signs, no spaces and no semicolon; or unset it",
    )


@click.command(epilog=_list_faults())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=0,
    show_default=True,
    help="Port to listen on; 0 takes any free one.",
)
@click.option(
    "--hub",
    default="load",
    show_default=True,
    help="Hub named in the printed URL. Clients may use any hub.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line instead of text.")
@click.option(
    "--upstream",
    type=click.Choice(["echo", "none"]),
    default="echo",
    show_default=True,
    help="Answer events and simple clients with what they sent, or take it and stay silent.",
)
@click.option(
    "--ack-delay",
    type=Duration(0, 60),
    default="1ms",
    show_default=True,
    help="Wait before each ack. The official sync Python client stalls on instant ones.",
)
@click.option(
    "--capacity",
    type=Rate(),
    default=None,
    metavar="N/s",
    help="Handle at most so many messages of clients a second; the others wait in line.",
)
@click.option(
    "--keep-alive",
    type=Duration(0.05, 120),
    default="20s",
    show_default=True,
    help="Ping interval; a client silent for two of them is dropped.",
)
@click.option(
    "--max-message-bytes",
    type=WholeNumber(1),
    default=MAX_MESSAGE_BYTES,
    show_default=True,
    help="Largest WebSocket message; a larger one closes its client with 1009.",
)
@click.option(
    "--clock-skew",
    type=Duration(0, 86400),
    default="300s",
    show_default=True,
    help="How far the times in a token may be off.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME:KEY=VALUE,...",
    help="Inject a fault, for example drop-ack:every=100. Repeatable.",
)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def serve(
    *,
    host: str,
    port: int,
    hub: str,
    as_json: bool,
    upstream: str,
    ack_delay: float,
    capacity: float | None,
    keep_alive: float,
    max_message_bytes: int,
    clock_skew: float,
    faults: tuple[str, ...],
    until_stdin_closes: bool,
) -> None:
    """Run a local stand-in of Azure Web PubSub.

    It speaks json.webpubsub.azure.v1; official SDKs have to be told to choose it,
    because they offer the reliable subprotocol. A client that offers no subprotocol,
    or others only, is a simple one.

    It prints a connection string that official SDKs and wpsload accept, and runs until it is
    interrupted. The access key is new at each start; set WPS_SERVE_ACCESS_KEY to keep one.
    """
    from wpsload.names import is_hub
    from wpsload.standin import server
    from wpsload.standin.wire import WireSettings

    if not is_hub(hub):
        raise ConfigError(f"{hub!r} is not a hub name", hint="use letters, digits and _, max. 128")
    if not host.strip():
        raise ConfigError("--host is empty", hint="use 127.0.0.1, or 0.0.0.0 for all addresses")
    access_key = _access_key()
    settings = server.Settings(
        access_key=access_key,
        clock_skew_s=clock_skew,
        upstream="none" if upstream == "none" else "echo",
        max_message_bytes=max_message_bytes,
        wire=WireSettings(ack_delay_s=ack_delay, keep_alive_s=keep_alive),
        faults=tuple(map(parse_fault, faults)),
        capacity_per_s=capacity,
    )

    def announce(bound_port: int) -> None:
        if not _is_loopback(host):
            click.echo(
                f"warning: listening on {host}: other machines can connect, without encryption",
                err=True,
            )
        reachable = _ALL_ADDRESSES.get(host, host)
        printed_host = f"[{reachable}]" if ":" in reachable else reachable
        endpoint = f"http://{printed_host}:{bound_port}"
        connection_string = f"Endpoint={endpoint};AccessKey={access_key};Version=1.0;"
        if as_json:
            description = {
                "connection_string": connection_string,
                "endpoint": endpoint,
                "hub": hub,
                "port": bound_port,
                "pid": os.getpid(),
            }
            click.echo(orjson.dumps(description).decode())
        else:
            websocket = endpoint.replace("http", "ws", 1)
            click.echo(connection_string)
            click.echo(f"clients: {websocket}/client/hubs/{hub}?access_token=...")
            click.echo(f"counts:  {endpoint}/_standin/stats")

    asyncio.run(
        server.serve(
            settings,
            host=host,
            port=port,
            listening=announce,
            until_stdin_closes=until_stdin_closes,
        )
    )
