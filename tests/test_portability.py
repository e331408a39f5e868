"""Systems without epoll, timerfd or resource limits: everything loads, and the engine is there."""

import subprocess
import sys

from serving import ROOT
from test_layers import modules

ELSEWHERE = """
import ctypes, psutil, select, sys                 # psutil is another one elsewhere
sys.modules["resource"] = None                     # as on Windows
for name in ("_express", "standin._ready", "standin._repeated"):
    sys.modules["wpsload." + name] = None          # as without a compiler
for name in [name for name in dir(select) if name.lower().startswith("epoll")]:
    delattr(select, name)                          # as on macOS
class NoLibrary(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if name is None:
            raise TypeError("no library without a name")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL = NoLibrary
"""

ENGINE = """
import gevent
from wpsload.alarm import LoopAlarm
from wpsload.engine import Engine
from wpsload.poller import WatcherPoller
engine = Engine(gevent.get_hub())
assert isinstance(engine.poller, WatcherPoller)
assert isinstance(engine._alarm, LoopAlarm)
"""


def test_every_module_loads_elsewhere() -> None:
    """What a system lacks is found out when it is needed, and not by an import that fails."""
    names = sorted(set(modules()) - {"__main__"})
    code = ELSEWHERE + "".join(f"import wpsload.{name}\n" for name in names) + ENGINE
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
