"""Packages of Node.js for tests, in a folder outside the tree that is filled once."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from benchmarks.programs import cache_folder

__all__ = ["node_modules"]

_INSTALL_S = 300


@cache
def node_modules(*packages: str) -> Path:
    """A folder with `packages`, each a name and a version; without it the test is skipped."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: nothing of Node.js is tested here")
    folder = cache_folder() / f"node-{'-'.join(packages).replace('^', '').replace('/', '-')}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as made:
            # Without the scripts of packages: some download what the tests do not need.
            install = ["npm", "install", "--prefix", made, "--ignore-scripts", "--no-save"]
            done = subprocess.run(
                [*install, *packages],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_INSTALL_S,
                check=False,
            )
            if done.returncode != 0:
                pytest.skip(f"npm install failed: {done.stdout[-300:]}")
            try:
                (Path(made) / "node_modules").rename(folder)
            except OSError:  # another process of this run was first
                assert folder.exists()
    return folder
