"""The `wpsload` command line. Each command imports what it needs when it runs."""

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from wpsload import __version__
from wpsload.app_command import app
from wpsload.arguments import WholeNumber
from wpsload.compare_command import compare
from wpsload.errors import ConfigError, WpsloadError
from wpsload.minting import Minting, groups_option, hub_option, roles_option, ttl_option
from wpsload.report_command import report
from wpsload.standin.command import serve
from wpsload.terminal import fail

__all__ = ["cli", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


_WHAT_NEXT = """\
try it: put it into WPS_CLIENT_URL, then python docs/clients/python/pubsub.py; other
languages, and a page that takes it by hand, are in docs/clients/README.md"""


@click.group(context_settings=CONTEXT, no_args_is_help=False)
@click.version_option(__version__, prog_name="wpsload")
def cli() -> None:
    """Tools around load tests of Azure Web PubSub.

    Load itself is a Locust run: locust -f locustfiles/pubsub.py
    """


cli.add_command(serve)
cli.add_command(app)
cli.add_command(report)
cli.add_command(compare)


@cli.command()
@click.option("--user-id", metavar="ID", help="User id of the client; anonymous if not given.")
@ttl_option
@roles_option
@groups_option
@hub_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with its parts.")
def url(
    *,
    user_id: str | None,
    ttl: str,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    hub: str,
    as_json: bool,
) -> None:
    """Print one client URL, as the portal's generator does.

    The access key is read from WPS_CONNECTION_STRING. Without --role the
    client can receive, but neither join groups nor send to them.
    """
    minting = Minting.read(hub=hub, ttl=ttl, roles=roles, groups=groups)
    client = minting.client_url(user_id)
    if as_json:
        parts = {
            "url": client.url.reveal(),
            "hub": client.hub,
            "userId": client.user_id,
            "roles": client.roles,
            "expires": client.expires_s,
        }
        click.echo(json.dumps(parts))
    else:
        click.echo(client.url.reveal())
    if sys.stdout.isatty():
        click.echo(_WHAT_NEXT, err=True)


@cli.command()
@click.option("--count", type=WholeNumber(1), required=True, metavar="N", help="Number of tokens.")
@ttl_option
@roles_option
@groups_option
@click.option(
    "--user-id",
    default="load-{n}",
    show_default=True,
    metavar="TEMPLATE",
    help="User id; {n} becomes the number of the token.",
)
@hub_option
@click.option(
    "--start",
    type=WholeNumber(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Number of the first token.",
)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    help="File to write, readable by you alone; - is stdout.",
)
def tokens(
    *,
    count: int,
    ttl: str,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    user_id: str,
    hub: str,
    start: int,
    out: str,
) -> None:
    """Mint client URLs ahead of a run, one JSON object a line.

    The access key is read from WPS_CONNECTION_STRING. A run uses the file
    through WPS_TOKENS_FILE and then needs no key.
    """
    from wpsload.client_url import format_line

    users = _user_ids(user_id, range(start, start + count))
    minting = Minting.read(hub=hub, ttl=ttl, roles=roles, groups=groups)
    lines = (format_line(minting.client_url(user)) for user in users)
    if out == "-":
        for line in lines:
            click.echo(line)
    else:
        _write_private(out, lines)
        click.echo(f"wrote {count} tokens for hub {hub} to {out}", err=True)
    if not roles:
        click.echo(
            "note: no --role given, clients will be unable to join groups or send to them",
            err=True,
        )


def _user_ids(template: str, numbers: range) -> Iterator[str]:
    if any(brace in template.replace("{n}", "") for brace in "{}"):
        raise ConfigError(
            f"--user-id has a placeholder other than {{n}}: {template}",
            hint="write it like load-{n}",
        )
    return (template.replace("{n}", str(n)) for n in numbers)


def _write_private(path: str, lines: Iterable[str]) -> None:
    """Write `path` whole or not at all, for the eyes of this user only.

    Raises:
        ConfigError: if it cannot be written.
    """
    target = Path(os.path.realpath(path))  # a symbolic link stays one
    if target.exists() and not target.is_file():
        raise ConfigError(f"cannot write {path}: not a regular file", hint="- writes to stdout")
    try:
        # Created exclusively and with mode 0600, so at no moment can others read it.
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".wpsload-")
        try:
            with os.fdopen(handle, "w", encoding="ascii", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def main() -> None:
    """Run the command line; a mistake of the user ends in one clear line, not a traceback."""
    if sys.stdout is None:  # closed by whoever started us
        fail("standard output is closed", hint="send it to /dev/null instead", exit_code=1)
    try:
        # Help and version give an exit code, commands nothing.
        sys.exit(cli(prog_name="wpsload", standalone_mode=False) or 0)
    except WpsloadError as error:
        fail(error.message, hint=error.hint, exit_code=error.exit_code)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"{context.command_path} --help" if context else None
        fail(message[:1].lower() + message[1:], hint=hint, exit_code=error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except OSError as error:
        # Files and sockets have their own errors, so this is the output. What it still holds must
        # not be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(1)  # the reader has seen enough
        fail(f"cannot write the output: {error.strerror}", hint=None, exit_code=1)
