"""Measures the run of `reports/example` anew: a climb on a stand-in that can do only so much."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from locusting import environment
from serving import ROOT, running

FOLDER = ROOT / "reports" / "example"
UNFINISHED = Path("reports", "example.new")  # relative, as the record has the command
CAPACITY = "150/s"
LADDER = "50@25/s,50@50/s,100@75/s,100@100/s,150@125/s,200@180/s"


def main() -> None:
    """Run it, about a minute, and keep its record."""
    locust = os.path.relpath(Path(sys.executable).parent / "locust", ROOT)
    with running("--capacity", CAPACITY) as stand_in:
        subprocess.run(
            [
                *(locust, "-f", "locustfiles/capacity.py", "--headless", "--only-summary"),
                *("--wps-ladder", LADDER, "--wps-settle", "2s", "--wps-measure", "5s"),
                *("--wps-threshold", "capacity.in>=100/s", "--wps-threshold", "delivery.p99<500ms"),
                *("--wps-reports", str(UNFINISHED)),
            ],
            env=environment({"WPS_CONNECTION_STRING": stand_in.connection_string}),
            cwd=ROOT,
            check=True,
        )
    (record,) = (ROOT / UNFINISHED).glob("*/run.json")
    FOLDER.mkdir(exist_ok=True)
    record.replace(FOLDER / record.name)
    shutil.rmtree(ROOT / UNFINISHED)


if __name__ == "__main__":
    main()
