"""The `wpsload compare` command: two records in, what differs out, and an exit code."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wpsload.errors import ConfigError
from wpsload.exit_code import MISSED

if TYPE_CHECKING:
    from wpsload.record import Record

__all__ = ["compare"]


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--fail-on",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Difference that makes the exit code 3, such as 'delivery.p99>+10%', 'rate.acked<-5%' "
    "or 'delivery.p50>+5ms'; repeatable.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "md"]),
    default="text",
    show_default=True,
    help="Plain text, or Markdown.",
)
@click.option("--force", is_flag=True, help="Compare runs that are not alike, or INVALID.")
@click.pass_context
def compare(
    context: click.Context,
    *,
    base: Path,
    new: Path,
    conditions: tuple[str, ...],
    format_: str,
    force: bool,
) -> None:
    """Say what differs between two runs of one plan.

    BASE and NEW are each a run.json, or the folder that it is in. A
    difference is named only if it is more than what the runs vary by
    themselves; a condition fails only if the difference is that, too, and
    beyond its limit.
    """
    from wpsload import comparison, comparison_lines
    from wpsload.record_file import read_record

    wanted = [comparison.parse_condition(one) for one in conditions]
    runs = read_record(base), read_record(new)
    heading = [f"base: {base}", f"new:  {new}", *_warnings(*runs, is_forced=force)]
    found = comparison.compare(*runs, wanted)
    lines = {"text": comparison_lines.text_lines, "md": comparison_lines.markdown_lines}
    for line in lines[format_](heading, found):
        click.echo(line)
    if found.has_failed:
        context.exit(MISSED)


def _warnings(base: "Record", new: "Record", *, is_forced: bool) -> list[str]:
    """What the reader has to know of the runs before the figures.

    Raises:
        ConfigError: if they are not to be compared, unless `is_forced`.
    """
    from wpsload.comparison import notes, why_not_alike, why_not_usable

    runs = {"base": base, "new": new}
    reasons = {name: why_not_usable(run) for name, run in runs.items()}
    unusable = [f"the {name} run: {reason}" for name, reason in reasons.items() if reason]
    unlike = why_not_alike(base, new)
    if not is_forced and unusable:
        raise ConfigError("; ".join(unusable), hint="measure again, or compare with --force")
    if not is_forced and unlike:
        raise ConfigError(
            f"the runs are not alike: {'; '.join(unlike)}",
            hint="measure again with the same load, or compare with --force",
        )
    return [
        *(f"NOT COMPARABLE: {one}" for one in unusable + unlike),
        *(f"note: {one}" for one in notes(base, new)),
    ]
