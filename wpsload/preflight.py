"""One connection before the load, so that a wrong key or host is one clear line and not a run."""

import os

import click
import gevent

from wpsload import frames
from wpsload.clock import clock_ns, unix_s
from wpsload.dialing import Address, dial, wait_through
from wpsload.errors import ConfigError, ConnectError
from wpsload.link import NORMAL_CLOSURE
from wpsload.options import Settings
from wpsload.target import Target

__all__ = ["probe"]

_ADVICE = {
    400: "the service does not understand the client URL: look at hub, group and query",
    401: "the service refused the token: look at the access key, the hub and the expiry",
    403: "the service does not let this client in: look at its network rules",
    404: "the service knows no such path or hub: look at the endpoint and the hub",
}
"""HTTP answers that no second attempt will change, and what to look at."""

_HOPELESS = ("host not found", "connection refused", "TLS", "invalid handshake")


def probe(target: Target, settings: Settings, *, subprotocol: str | None) -> None:
    """Connect once as the first user, with the subprotocol of the users, and hang up.

    An answer that may pass, such as HTTP 503 or a timeout, is only mentioned: the users of the
    run retry and count it.

    Raises:
        ConfigError: if no client could ever connect.
    """
    try:
        client = target.client_url(0, now_s=unix_s(), ttl_s=settings.token_ttl_s)
        address = Address.of(client, is_token_in_header=settings.is_token_in_header)
        with gevent.Timeout(settings.limits.connect_timeout_s):
            steps = dial(
                lambda: address, may_wait=False, subprotocol=subprotocol, clock_ns=clock_ns
            )
            dialed = wait_through(steps)
    except ConnectError as error:
        failure = f"cannot connect to {target.describe()}: {error.outcome}"
        if error.status in _ADVICE:
            raise ConfigError(failure, hint=_ADVICE[error.status]) from error
        if error.outcome.startswith(_HOPELESS):
            raise ConfigError(
                failure, hint="look at the endpoint, and that this machine can reach it"
            ) from error
        click.echo(f"warning: {failure}; the users will retry", err=True)
    else:
        dialed.transport.write(
            frames.encode(
                frames.CLOSE, frames.close_payload(NORMAL_CLOSURE), mask_key=os.urandom(4)
            )
        )
        dialed.transport.close()
