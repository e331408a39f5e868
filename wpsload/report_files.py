"""Reports as files."""

from collections.abc import Callable
from pathlib import Path

from wpsload.pubsub_csv import history_text
from wpsload.record import Record
from wpsload.record_file import write_whole
from wpsload.reports import FILES
from wpsload.reports.html import html_report
from wpsload.reports.junit import junit_report
from wpsload.reports.markdown import markdown_report
from wpsload.summary import report_lines

__all__ = ["RENDERERS", "write_report"]


def _text(record: Record) -> str:
    return "".join(f"{line}\n" for line in report_lines(record))


RENDERERS: dict[str, Callable[[Record], str]] = {
    "text": _text,
    "md": markdown_report,
    "html": html_report,
    "junit": junit_report,
    "csv": history_text,
}
"""What makes the text of each of `FILES`."""


def write_report(record: Record, name: str, folder: Path) -> Path:
    """Write a report, whole or not at all, into a folder that exists; returns its file.

    Raises:
        WpsloadError: if it cannot be written.
    """
    path = folder / FILES[name]
    write_whole(path, RENDERERS[name](record).encode())
    return path
