"""The programs of the table: built or installed into a cache outside the tree, with versions.

What cannot be had raises `Missing` with the reason, so that a row can say why it was not measured.
"""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import trustme

__all__ = ["HERE", "NODE_PACKAGES", "Missing", "build", "cache_folder", "certificate"]
__all__ += ["install_node", "install_tsung", "node_modules", "python_package", "version_of"]

HERE = Path(__file__).parent

NODE_PACKAGES = {"ws": "8.23.0", "artillery": "2.0.21"}

_TRIES_S = 600  # an installation that hangs is given up


class Missing(Exception):
    """A program cannot be had here; the text says why."""


def cache_folder() -> Path:
    """Where everything goes that is built, installed or written while running."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wpsload-bench"
    root.mkdir(parents=True, exist_ok=True)
    return root


def build(source: str, *libraries: str) -> Path:
    """The program made from a C file of this folder; compiled again only when that has changed.

    Raises:
        Missing: without a compiler or a library.
    """
    text = (HERE / source).read_bytes()
    program = cache_folder() / f"{Path(source).stem}-{hashlib.sha256(text).hexdigest()[:8]}"
    if not program.exists():
        made = program.with_suffix(f".{os.getpid()}")
        flags = [*("-O3", "-Wall", "-Wextra", "-o", str(made)), str(HERE / source)]
        flags += [f"-l{library}" for library in libraries]
        try:
            _run("cc", *flags)
        except Missing:
            _install_debian("gcc", "libc6-dev", "libssl-dev")
            _run("cc", *flags)
        made.replace(program)  # whole or not at all, as several may build at the same time
    return program


def node_modules(*packages: str, within_s: float = _TRIES_S) -> Path:
    """A `node_modules` folder with `packages`, each a name and a version; filled once.

    Raises:
        Missing: without Node.js, or if npm is not there or cannot install them.
    """
    if shutil.which("node") is None:
        raise Missing("no node")
    name = "-".join(packages).replace("^", "").replace("/", "-")
    folder = cache_folder() / f"npm-{name}"
    if not folder.exists():
        made = Path(tempfile.mkdtemp(dir=cache_folder()))
        try:
            # Without scripts: one of Artillery's dependencies would download a browser.
            options = ("--prefix", str(made), "--ignore-scripts", "--no-save")
            _run("npm", "install", *options, *packages, within_s=within_s)
            made.rename(folder)
        except OSError:
            if not folder.exists():  # or another process was first
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder / "node_modules"


@cache
def install_node() -> Path:
    """The `node_modules` folder with the packages of `NODE_PACKAGES`.

    Raises:
        Missing: without Node.js, or if npm is not there or cannot install them.
    """
    packages = [f"{name}@{version}" for name, version in NODE_PACKAGES.items()]
    try:
        return node_modules(*packages)
    except Missing:
        _install_debian("nodejs", "npm")
        return node_modules(*packages)


@cache
def install_tsung() -> None:
    """See to it that `tsung` is there.

    Raises:
        Missing: if Debian's package cannot be installed.
    """
    if shutil.which("tsung") is None:
        _install_debian("tsung")


def python_package(name: str) -> str:
    """The version of an installed Python package.

    Raises:
        Missing: if it is not installed.
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise Missing(f"Python package {name} is not installed: run make test once") from error


@cache
def certificate() -> tuple[Path, Path, Path]:
    """PEM files for 127.0.0.1: the authority to trust, the server's certificate and its key."""
    folder = cache_folder() / "tls"
    folder.mkdir(exist_ok=True)
    authority, chain, key = folder / "authority.pem", folder / "chain.pem", folder / "key.pem"
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1", "localhost")
    ca.cert_pem.write_to_path(authority)
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return authority, chain, key


def version_of(*command: str) -> str:
    """The first line that a program says about its version, `missing` if it is not there."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "missing"
    return (said.stdout.strip() or said.stderr.strip()).splitlines()[0]


def _install_debian(*packages: str) -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Missing(f"not installed, and only root can: apt-get install {' '.join(packages)}")
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)


def _run(*command: str, within_s: float = _TRIES_S) -> None:
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=within_s,
            env=environ,
        )
    except subprocess.CalledProcessError as error:
        last = (error.output or "").strip().splitlines()[-1:] or ["it said nothing"]
        raise Missing(f"{' '.join(command[:2])} failed: {last[0]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{' '.join(command[:2])} failed: {error}") from error
