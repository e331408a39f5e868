"""The `wpsload` command line. Each command imports what it needs when it runs."""

import sys

import click

from wpsload import __version__
from wpsload.errors import WpsloadError

__all__ = ["cli", "main"]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="wpsload")
def cli() -> None:
    """Tools around load tests of Azure Web PubSub.

    Load itself is a Locust run: locust -f locustfiles/pubsub.py
    """


def main() -> None:
    """Run the command line; a mistake of the user ends in one clear line, not a traceback."""
    try:
        cli()
    except WpsloadError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
