"""The `wpsload app` command: options in, the address of a negotiate endpoint out."""

import asyncio
import json
import os

import click

from wpsload.listening import check_host, host_option, port_option, reachable_at
from wpsload.minting import Minting, groups_option, hub_option, roles_option, ttl_option

__all__ = ["app"]


@click.command()
@host_option
@port_option
@ttl_option
@roles_option
@groups_option
@hub_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line instead of text.")
def app(
    *,
    host: str,
    port: int,
    ttl: str,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    hub: str,
    as_json: bool,
) -> None:
    """Run a small app server that hands out client URLs.

    GET /negotiate?id=USER answers {"url": ...} with a client URL for that user,
    as the app servers of the service's tutorials do. A run uses it through
    WPS_NEGOTIATE_URL. It asks nobody who they are: do not open it to a network.

    The access key is read from WPS_CONNECTION_STRING. Without --role the
    clients can receive, but neither join groups nor send to them.
    """
    from wpsload.app import NEGOTIATE_PATH, serve

    check_host(host)
    minting = Minting.read(hub=hub, ttl=ttl, roles=roles, groups=groups)
    minting.client_url("load-0")  # finds now what each answer would fail of

    def announce(bound_port: int) -> None:
        url = f"{reachable_at(host, bound_port)}{NEGOTIATE_PATH}"
        if as_json:
            described = {"url": url, "hub": hub, "port": bound_port, "pid": os.getpid()}
            click.echo(json.dumps(described))
        else:
            click.echo(f"{url}?id=USER")
            click.echo(f"a run:  WPS_CONNECTION_STRING= WPS_NEGOTIATE_URL={url} locust ...")

    asyncio.run(serve(minting, host=host, port=port, listening=announce))
