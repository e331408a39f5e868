"""`wpsload report`, as users run it: one format to see, several into a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import DEADLINE_S, ROOT

from wpsload.record_file import read_record
from wpsload.report_files import RENDERERS
from wpsload.reports import FILES

EXAMPLE = ROOT / "reports" / "example"
KEPT = ("text", "md", "html", "junit")


def report(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """The finished command."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "wpsload", "report", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
    )


def test_every_format_is_rendered() -> None:
    """The command offers what there is."""
    assert RENDERERS.keys() == FILES.keys()
    assert set(KEPT) < FILES.keys()


@pytest.mark.parametrize("name", KEPT)
def test_the_example_is_current(name: str) -> None:
    """The same bytes from the same record, on any machine and on any day: `make example-reports`
    writes them anew after a change."""
    done = report(str(EXAMPLE), "--format", name)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (EXAMPLE / FILES[name]).read_bytes()


def test_the_example_is_a_real_run() -> None:
    """Which came to its end, a climb until the objective was missed."""
    record = read_record(EXAMPLE)
    assert record.state == "finished"
    assert len(record.series.second) > 20
    assert record.ladder is not None
    assert record.ladder.best is not None
    assert record.ladder.ended == "missed"


def test_several_formats_go_into_a_folder(tmp_path: Path) -> None:
    """Which is made; each file is named, and holds what would have been printed."""
    folder = tmp_path / "a" / "b"
    arguments = [part for name in (*FILES, "html") for part in ("--format", name)]
    done = report(str(EXAMPLE / "run.json"), "--out", str(folder), *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [str(folder / file) for file in FILES.values()]
    assert sorted(one.name for one in folder.iterdir()) == sorted(FILES.values())
    record = read_record(EXAMPLE)
    for name, render in RENDERERS.items():
        assert (folder / FILES[name]).read_bytes() == render(record).encode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "md", "--format", "html"], b"only one format can be printed"),
        (["--format", "pdf"], b"'pdf' is not one of"),
        (["--out", str(EXAMPLE / "run.json")], b"is no folder"),
        (["--out", str(EXAMPLE / "run.json" / "x")], b"cannot make"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: bytes) -> None:
    """With what to do about it, and nothing is written."""
    done = report(str(EXAMPLE), *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """What cannot be replaced stays."""
    (tmp_path / "report.md").mkdir()
    done = report(str(EXAMPLE), "--format", "md", "--out", str(tmp_path))
    assert done.returncode == 2
    assert b"report.md" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["report.md"]


def test_a_report_does_not_load_locust() -> None:
    """None of the formats needs what makes the load."""
    code = (
        "import sys; from wpsload.cli import cli\n"
        "for name in sys.argv[2:]:\n"
        "    cli(['report', sys.argv[1], '--format', name], standalone_mode=False)\n"
        "print(*sorted({'locust', 'gevent'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLE), *FILES],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stderr.strip() == ""
    assert "<!doctype html>" in done.stdout
