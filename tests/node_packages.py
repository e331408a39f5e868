"""Packages of Node.js for tests, in a folder outside the tree that is filled once."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from benchmarks.programs import cache_folder

__all__ = ["node_modules"]

_INSTALL_S = 60


def node_modules(*packages: str) -> Path:
    """A folder with `packages`, each a name and a version; without it the test is skipped."""
    folder = cache_folder() / f"node-{'-'.join(packages).replace('^', '').replace('/', '-')}"
    if not folder.exists() and (why := _install(folder, packages)):
        pytest.skip(why)
    return folder


@cache  # who has waited once for a registry that does not answer does not wait again
def _install(folder: Path, packages: tuple[str, ...]) -> str:
    """Fill the folder; why that is impossible, empty if it is done."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        return f"no {' and no '.join(missing)}: nothing of Node.js is tested here"
    with tempfile.TemporaryDirectory(dir=cache_folder()) as made:
        # Without the scripts of packages: some download what the tests do not need.
        options = ("--prefix", made, "--ignore-scripts", "--no-save", "--no-audit", "--no-fund")
        try:
            subprocess.run(
                ["npm", "install", *options, "--fetch-retries", "1", *packages],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_INSTALL_S,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            return f"npm install failed: {error.stdout[-300:]}"
        except subprocess.TimeoutExpired:
            return f"npm install {' '.join(packages)} took more than {_INSTALL_S} s"
        try:
            (Path(made) / "node_modules").rename(folder)
        except OSError:  # another process of this run was first
            assert folder.exists()
    return ""
