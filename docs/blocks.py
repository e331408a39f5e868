"""The generated parts of the README: tables and help texts, straight from the code."""

import os

from click.testing import CliRunner

from wpsload.cli import cli
from wpsload.metrics import METRICS
from wpsload.options import OPTIONS

__all__ = ["command_help", "metric_table", "option_table"]


def option_table() -> str:
    """Every `--wps-…` option."""
    lines = ["| option | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for option in OPTIONS:
        default = (
            f"`{option.default}`"
            if option.default
            else "off"
            if option.default is False
            else "none"
        )
        choices = (
            f" One of {', '.join(map('`{}`'.format, option.choices))}." if option.choices else ""
        )
        lines.append(
            f"| `{option.flag}` | `{option.variable}` | {default} | {option.help}{choices} |"
        )
    return "\n".join(lines)


def metric_table() -> str:
    """Every measurement."""
    lines = ["| type | name | from → to |", "| --- | --- | --- |"]
    lines += [f"| {metric.type} | `{metric.name}` | {metric.meaning} |" for metric in METRICS]
    return "\n".join(lines)


def command_help(*command: str) -> str:
    """The help of a `wpsload` command, 80 columns wide and without colour."""
    environ = {"WPS_HUB": "", "NO_COLOR": "1", "COLUMNS": "80"}
    result = CliRunner(env={**os.environ, **environ}).invoke(
        cli, [*command, "--help"], prog_name="wpsload", terminal_width=80
    )
    return f"```text\n{result.output.rstrip()}\n```"
