"""The `wpsload serve` command: options in, a connection string out."""

import asyncio
import os
import secrets
import sys

import click
import orjson

from wpsload.errors import ConfigError
from wpsload.standin.faults import FAULTS, parse_fault
from wpsload.subprotocol import MAX_MESSAGE_BYTES
from wpsload.units import parse_duration_s

__all__ = ["serve"]

ACCESS_KEY_VARIABLE = "WPS_SERVE_ACCESS_KEY"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to print, not to bind


class _Duration(click.ParamType[float]):
    """A duration such as 20s, as seconds from `shortest_s` to `longest_s`."""

    name = "duration"

    def __init__(self, shortest_s: float, longest_s: float) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            duration_s = parse_duration_s(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        if not self._shortest_s <= duration_s <= self._longest_s:
            self.fail(f"{value} is not between {self._shortest_s:g}s and {self._longest_s:g}s")
        return duration_s


def _list_faults() -> str:
    r"""The faults and their settings for the end of the help; `\b` keeps click from wrapping."""
    lines = ["\b", "Faults, each upon every Nth opportunity of its kind:"]
    for name, kind in FAULTS.items():
        settings = ",".join(f"{key}={'N' if key == 'every' else '...'}" for key in kind.keys)
        lines += [f"  {name}:{settings}", f"      {kind.meaning}"]
    return "\n".join(lines)


@click.command(epilog=_list_faults())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
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
    type=_Duration(0, 60),
    default="1ms",
    show_default=True,
    help="Wait before each ack. The official sync Python client stalls on instant ones.",
)
@click.option(
    "--keep-alive",
    type=_Duration(0.05, 120),
    default="20s",
    show_default=True,
    help="Ping interval; a client silent for two of them is dropped.",
)
@click.option(
    "--max-message-bytes",
    type=click.IntRange(1),
    default=MAX_MESSAGE_BYTES,
    show_default=True,
    help="Largest WebSocket message; a larger one closes its client with 1009.",
)
@click.option(
    "--clock-skew",
    type=_Duration(0, 86400),
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
    from wpsload.standin import server
    from wpsload.standin.access import is_hub
    from wpsload.standin.wire import WireSettings

    if not is_hub(hub):
        raise ConfigError(f"{hub!r} is not a hub name", hint="use letters, digits and _, max. 128")
    access_key = os.environ.get(ACCESS_KEY_VARIABLE) or secrets.token_urlsafe(48)
    if ";" in access_key:
        raise ConfigError(f"{ACCESS_KEY_VARIABLE} has a semicolon", hint="choose a key without")
    settings = server.Settings(
        access_key=access_key,
        clock_skew_s=clock_skew,
        upstream="none" if upstream == "none" else "echo",
        max_message_bytes=max_message_bytes,
        wire=WireSettings(ack_delay_s=ack_delay, keep_alive_s=keep_alive),
        faults=tuple(map(parse_fault, faults)),
    )
    if host not in _LOOPBACK:
        click.echo(
            f"warning: listening on {host}: other machines can connect, without encryption",
            err=True,
        )

    def announce(bound_port: int) -> None:
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
        sys.stdout.flush()

    asyncio.run(
        server.serve(
            settings,
            host=host,
            port=port,
            listening=announce,
            until_stdin_closes=until_stdin_closes,
        )
    )
