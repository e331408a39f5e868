"""Plays the rows of the table and reports: python -m benchmarks.bench (or make bench)."""

import dataclasses
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click

from benchmarks import programs, report
from benchmarks.playing import SERVER_CORE, play
from benchmarks.results import Played, Results
from benchmarks.rows import CONTESTS, QUICK, ROWS, Contest, Row, Side
from wpsload.open_files import raise_limit

__all__ = ["main"]

_WARM_UP_S = 1.0
_KEPT = {False: "results.json", True: "quick.json"}  # in the cache, by --quick


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Calm rounds of each contest.")
@click.option("--window", "window_s", default=2.0, show_default=True, help="Seconds of each side.")
@click.option(
    "--only",
    "chosen",
    multiple=True,
    type=click.Choice(list(CONTESTS)),
    help="Play this contest alone, and keep the last results of the others; repeatable.",
)
@click.option(
    "--side", "sides", multiple=True, help="Play this side alone, and keep nothing; repeatable."
)
@click.option("--quick", is_flag=True, help="The two rows that say most.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the report here.")
@click.option("--again", is_flag=True, help="Report the last results once more; play nothing.")
def main(
    *,
    rounds: int,
    window_s: float,
    chosen: tuple[str, ...],
    sides: tuple[str, ...],
    quick: bool,
    output: Path | None,
    again: bool,
) -> None:
    """Measure wpsload against other generators, side by side."""
    signal.signal(signal.SIGTERM, _leave)
    raise_limit()
    rows = QUICK if quick else ROWS
    kept = programs.cache_folder() / _KEPT[quick]
    results = Results(window_s=window_s)
    if (again or chosen) and kept.exists():
        results = dataclasses.replace(Results.read(kept), window_s=window_s)
    if not again:
        os.sched_setaffinity(0, {SERVER_CORE})  # never in the generator's way
        results.machine = _machine()
        for contest, wanted in _wanted(rows, chosen, sides).items():
            _prepare(wanted, results)
            _play(contest, wanted, rounds, results)
            if not sides:
                results.write(kept)
    text = report.render(results, rows)
    if output is not None:
        output.write_text(text, encoding="utf-8")
        click.echo(f"wrote {output}", err=True)
    else:
        click.echo(text)


def _leave(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that everything that was started is ended too."""
    sys.exit(128 + number)


def _wanted(
    rows: Sequence[Row], contests: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, Side]]:
    """By contest, the sides that take part in `rows`; of `contests` and `names` alone, if any."""
    wanted: dict[str, dict[str, Side]] = {}
    for row in rows:
        if contests and row.contest not in contests:
            continue
        for name, side in CONTESTS[row.contest].sides.items():
            if name in (row.ours, row.theirs) and (not names or name in names):
                wanted.setdefault(row.contest, {})[name] = side
    return wanted


def _prepare(sides: Mapping[str, Side], results: Results) -> None:
    """Install what the sides need; who cannot be had is named."""
    for name, side in sides.items():
        results.missing.pop(name, None)
        try:
            results.versions[name] = side.generator.prepare()
        except programs.Missing as error:
            results.missing[name] = str(error)
            click.echo(f"missing: {name}: {error}", err=True)


def _play(contest: str, sides: Mapping[str, Side], rounds: int, results: Results) -> None:
    """Play round by round, until as many as wanted were calm, at most half as many again."""
    present = [name for name in sides if name not in results.missing]
    played = results.rounds[contest] = []
    results.measured[contest] = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC at {_commit()}"
    while present and len(played) < rounds + rounds // 2:
        one: dict[str, Played] = {}
        played.append(one)
        # Every other round the other way round, so that no side always follows the same one.
        order = present if len(played) % 2 else present[::-1]
        # But a side whose pace is a share of another's has to follow that one.
        for name in sorted(order, key=lambda name: _depth(CONTESTS[contest], name)):
            one[name] = _play_side(contest, sides[name], one, results.window_s)
            click.echo(f"{contest} {len(played)}: {_line(name, one[name])}", err=True)
        is_measured = [name for name in present if one[name].problem is None]
        if len(report.calm_rounds(played, is_measured)) >= rounds:
            break


def _depth(contest: Contest, name: str) -> int:
    leader = contest.sides[name].share_of
    return 0 if leader is None else 1 + _depth(contest, leader)


def _play_side(contest: str, side: Side, before: Mapping[str, Played], window_s: float) -> Played:
    """A side, at a pace that the sides `before` it in the round may decide."""
    limit = before.get(side.share_of or "", Played())
    if side.share_of is not None and not limit.per_s:
        return Played(problem=f"its pace is unknown: {side.share_of!r} was not measured")
    for share in side.shares:
        work = side.work
        if side.share_of is not None:
            interval_s = work.connections / (share * limit.per_s)
            work = dataclasses.replace(work, interval_s=round(interval_s, 9))
        paced = dataclasses.replace(side, work=work)
        played = play(CONTESTS[contest], paced, warm_up_s=_WARM_UP_S, window_s=window_s)
        if not played.is_invalid:
            break
    return played


def _line(name: str, played: Played) -> str:
    if played.problem is not None:
        return f"{name}: {played.problem}"
    if played.kib:
        return f"{name}: {played.kib:.1f} KiB a connection"
    slip = "" if played.slip_ms is None else f", slip p99 {played.slip_ms:.2f} ms"
    return (
        f"{name}: {played.per_s:,.0f}/s, {played.cpu_us:.1f} µs each, core "
        f"{played.generator_core:.2f}, server {played.server_core:.2f}, "
        f"alien {played.alien:.2f}{slip}"
    )


def _machine() -> dict[str, str]:
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores; server on one, generator on another",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "C compiler": programs.version_of("cc", "--version"),
        "OpenSSL of the sink": programs.version_of("openssl", "version"),
    }


def _commit() -> str:
    return programs.version_of("git", "-C", str(programs.HERE), "describe", "--always", "--dirty")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
