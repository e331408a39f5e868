"""`wpsload report`: the command. It imports what it needs when it runs."""

from pathlib import Path

import click

from wpsload.errors import ConfigError, WpsloadError
from wpsload.reports import FILES

__all__ = ["report"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "names",
    type=click.Choice(list(FILES)),
    multiple=True,
    default=["text"],
    show_default=True,
    help="What to make; repeatable with --out.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the files, made if need be; without, one format is printed.",
)
def report(*, run: Path, names: tuple[str, ...], out: Path | None) -> None:
    """Report on a run, from its record alone.

    RUN is a run.json, or the folder that it is in. The formats are text, what
    a run prints at its end; md, for a comment on a pull request; html, a page
    that is one file; junit, a test for each threshold and rung; and csv, the
    seconds as in PREFIX_pubsub_history.csv.
    """
    from wpsload.record_file import read_record
    from wpsload.report_files import RENDERERS, write_report

    names = tuple(dict.fromkeys(names))
    if out is None and len(names) > 1:
        raise ConfigError(
            "only one format can be printed", hint="name a folder for their files: --out DIR"
        )
    record = read_record(run)
    if out is None:
        # As bytes: a page and XML say that they are UTF-8, whatever the terminal is.
        click.echo(RENDERERS[names[0]](record).encode(), nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            click.echo(write_report(record, name, out))
    except FileExistsError as error:
        raise ConfigError(f"--out {out} is no folder", hint="name another one") from error
    except OSError as error:
        raise ConfigError(
            f"cannot make {out}: {error.strerror}", hint="name another one"
        ) from error
    except WpsloadError as error:
        raise ConfigError(error.message, hint="name another folder: --out DIR") from error
