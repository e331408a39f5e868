"""The architecture: imports point one way, and importing the package changes nothing."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ROOT

PACKAGE = ROOT / "wpsload"

# What each module may import of ours: anything of a lower layer, plus what is named here.
# 0 plain facts · 1 pure code · 2 I/O · 3 Locust · 4 the command line
LAYERS = {
    0: {"errors", "units", "metrics"},
    1: {
        *("names", "secret", "signing", "frames", "subprotocol", "session", "client_url", "tokens"),
        *("payload", "histogram", "meter", "recorder", "summary", "verdict"),
        *(
            "agenda",
            "arrivals",
            "clock_offset",
            "comparison",
            "comparison_lines",
            "compiled",
            "familiar",
            "fan_out",
            "ladder",
            "ledger",
            "opening",
            "publication",
        ),
        *("receipts", "rungs", "turn"),
        "published",
        *("exit_code", "figures", "phases", "redaction", "record", "stretches", "thresholds"),
        "timeline",
        *("formatting", "rows", "reports.charts", "reports.course", "reports.html"),
        *("reports.junit", "reports.ladder_lines", "reports.ladder_plots", "reports.markdown"),
        *("reports.plots", "reports.style"),
        *("standin.hub", "standin.faults", "standin.ledger", "standin.roles"),
    },
    2: {
        *("poller", "alarm", "engine", "stream", "link", "wire", "websocket_client"),
        *("publishing", "connection", "selfcheck"),
        *("clock", "dialing", "target", "options", "pubsub_csv", "record_file", "surroundings"),
        *("housekeeping", "open_files", "preflight", "preparation", "terminal"),
        *("arguments", "embedded", "interrupt", "negotiate", "report_command", "report_files"),
        *("app", "app_command", "listening", "minting"),
        *(
            "standin.access",
            "standin.delivery",
            "standin.late",
            "standin.line",
            "standin.masking",
            "standin.pipe",
            "standin.wire",
            "standin.rest",
            "standin.strikes",
            "standin.server",
        ),
        "standin.command",
        "compare_command",
    },
    3: {
        "run",
        "locust_precision",
        "clock_exchange",
        "locust_stats",
        "web_guard",
        "distributed",
        "judging",
        "capacity",
        "parking",
        "recording",
        "plugin",
        "users",
    },
    4: {"cli", "__main__"},
}
LOCUST_ALLOWED = LAYERS[3] - {"run"}
PURE_IMPORTS = {"jwt", "msgspec", "orjson"}  # the third-party code that pure modules may use
IO_MODULES = {"asyncio", "gevent", "os", "selectors", "socket", "ssl", "subprocess", "time"}


def modules() -> dict[str, Path]:
    """Every module by its name below `wpsload`."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] != "__init__":
            names[".".join(parts)] = path
    return names


def imports(path: Path) -> set[str]:
    """The absolute names that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def layer(name: str) -> int:
    """The layer that a module is in."""
    return next(number for number, names in LAYERS.items() if name in names)


def ours(path: Path) -> set[str]:
    """The modules of the package that a module imports."""
    known = modules()
    found = {name.removeprefix("wpsload.") for name in imports(path) if name.startswith("wpsload.")}
    return {name for name in found if name in known}


def test_every_module_has_a_layer() -> None:
    """A new module says where it belongs, and a removed one is forgotten here too."""
    assert set(modules()) == set().union(*LAYERS.values())


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_down(name: str) -> None:
    """No module imports from a higher layer."""
    too_high = {other for other in ours(modules()[name]) if layer(other) > layer(name)}
    assert not too_high


@pytest.mark.parametrize("name", sorted(LAYERS[0] | LAYERS[1]))
def test_pure_modules_do_no_io(name: str) -> None:
    """Protocol and arithmetic have no sockets, no clock and no event loop."""
    outside = {full.partition(".")[0] for full in imports(modules()[name])} - {"wpsload"}
    assert not outside & IO_MODULES
    assert outside <= sys.stdlib_module_names | PURE_IMPORTS


@pytest.mark.parametrize("name", sorted(set(modules()) - LOCUST_ALLOWED))
def test_only_few_modules_know_locust(name: str) -> None:
    """Locust patches the process when it is imported, so that only its own arm may."""
    assert not {full for full in imports(modules()[name]) if full.split(".")[0] == "locust"}


def test_the_stand_in_knows_neither_gevent_nor_users() -> None:
    """The stand-in is a process of its own that is never patched."""
    for name, path in modules().items():
        if name.startswith("standin."):
            assert not {full for full in imports(path) if full.split(".")[0] == "gevent"}, name
            assert not {"users", "plugin", "connection", "session"} & ours(path), name


@pytest.mark.parametrize("module", ["wpsload", "wpsload.cli", "wpsload.embedded"])
def test_importing_does_not_load_locust(module: str) -> None:
    """Neither the package nor its command line loads Locust or gevent."""
    code = f"import sys, {module}; print(*sorted({{'locust', 'gevent'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def exported(name: str) -> set[str]:
    """What a module has in `__all__`, read without importing it."""
    for node in ast.parse(modules()[name].read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets):
            assert isinstance(node, ast.Assign)
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize("name", sorted(modules()))
def test_imported_names_are_exported(name: str) -> None:
    """What one module takes from another is in the other's `__all__`."""
    known = modules()
    missing = set()
    for node in ast.walk(ast.parse(known[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            other = node.module.removeprefix("wpsload.")
            if other in known and node.module != other:
                names = {alias.name for alias in node.names}
                missing |= {f"{other}.{each}" for each in names - exported(other)}
    assert not missing


@pytest.mark.parametrize("name", sorted(set(modules()) - LOCUST_ALLOWED - {"__main__"}))
def test_exported_names_exist(name: str) -> None:
    """`__all__` is there, sorted, and true."""
    module = importlib.import_module(f"wpsload.{name}")
    assert module.__all__
    assert all(hasattr(module, exported) for exported in module.__all__)
