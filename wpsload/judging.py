"""The verdict inside Locust: who measures itself, where that is collected, who is told.

The process that makes load measures itself. Workers send that to the master along with their
reports; the master, or the only process, judges. A change of level is logged once, Locust's page
has a tab *Generator*, and `/wpsload/verdict` gives the same as JSON.
"""

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

import json
import logging
import os
import socket
from typing import Any

import gevent
from flask import Response, jsonify, request

from wpsload import locust_precision
from wpsload.recorder import Totals
from wpsload.run import LoadRun
from wpsload.selfcheck import SelfCheck
from wpsload.verdict import Judge, Level, SelfMeasurement, Verdict

__all__ = ["Judging"]

_log = logging.getLogger(__name__)

_REPORT = "wpsload.selfcheck"
_ALONE = "this process"
_TAB = "wpsload-verdict"
_STEADY = 0  # the part of a run without a ladder that is judged
_SETTLE_S = (
    1.0  # after the last user was spawned, until its connection is open and its group joined
)
_LOG_LEVELS = {Level.VALID: logging.INFO, Level.SUSPECT: logging.WARNING}


class Judging:
    """Wires a run's self-measurement into `environment`; to be made on Locust's `init`.

    If the run `is_climbing` a ladder, `stand_on` tells what is judged.
    """

    def __init__(
        self,
        environment: Environment,
        runner: Any,
        web_ui: Any,
        run: LoadRun,
        *,
        is_climbing: bool = False,
    ) -> None:
        self._runner = runner
        self._run = run
        self._is_climbing = is_climbing
        self._judge = Judge()
        self._rungs: dict[int, Judge] = {}
        self._check: SelfCheck | None = None
        self._part: int | None = None  # what is measured now: a rung, or the steady part, if any
        self._settling: gevent.Greenlet[..., Any] | None = None
        self._pending: dict[int | None, SelfMeasurement] = {}  # of a worker, by part
        events: Any = environment.events
        events.test_start.add_listener(self._start)
        events.spawning_complete.add_listener(self._spawned)
        events.test_stopping.add_listener(self._stopping)
        if isinstance(runner, WorkerRunner):
            events.report_to_master.add_listener(self._report)
        elif isinstance(runner, MasterRunner):
            events.worker_report.add_listener(self._collect)
        if web_ui is not None:
            _show(web_ui, self, run)

    @property
    def is_on(self) -> bool:
        """False if nobody wants a verdict."""
        return self._run.settings.verdict != "off"

    def verdict(self, totals: Totals) -> Verdict:
        """The verdict on the run as it is now, which is what `totals` are of."""
        waiting = totals.dropped_waiting
        return self._judge.verdict(dropped=totals.dropped - waiting, waiting=waiting)

    def stand_on(self, rung: int | None) -> None:
        """What is measured from now on is of that rung; None while none is measured."""
        self._part = rung

    def verdict_on(self, rung: int, *, dropped: int, waiting: int) -> Verdict:
        """The verdict on a rung alone; arrivals as `Judge.verdict` has them."""
        judge = self._rungs.get(rung, Judge())
        return judge.verdict(dropped=dropped, waiting=waiting)

    def measured(self) -> dict[str, Any]:
        """What each process that makes load measured of itself, by its name, as values of JSON."""
        return {name: one.to_dict() for name, one in self._judge.measured().items()}

    def live(self) -> dict[str, Verdict]:
        """How each process that makes load does at the moment, by its name."""
        return self._judge.live()

    def _start(self, **_: Any) -> None:
        self._judge.reset()
        self._rungs.clear()
        locust_precision.mark(is_marked=False)
        self._pending.clear()
        self._part = None
        if self._settling is not None:
            self._settling.kill(block=False)
            self._settling = None
        if self._check is not None:
            self._check.stop()
            self._check = None
        if self.is_on and not isinstance(self._runner, MasterRunner):
            self._check = SelfCheck(self._run.engine, self._measured)
            self._check.start()

    def _spawned(self, **_: Any) -> None:
        """What connecting costs is not what the load costs."""
        if self._settling is None and not self._is_climbing:
            self._settling = gevent.spawn_later(_SETTLE_S, self._settled)

    def _settled(self) -> None:
        self._part = _STEADY

    def _stopping(self, **_: Any) -> None:
        """The drain, in which all connections close, is not what the load costs either."""
        if self._check is not None:
            self._check.stop()

    def _measured(self, measured: SelfMeasurement) -> None:
        if isinstance(self._runner, WorkerRunner):
            pending = self._pending.get(self._part, SelfMeasurement())
            self._pending[self._part] = pending.merge(measured)
        else:
            self._add(_ALONE, measured, self._part)

    def _add(self, name: str, measured: SelfMeasurement, part: int | None) -> None:
        changed = self._judge.add(name, measured, is_steady=part is not None)
        if part:
            self._rungs.setdefault(part, Judge()).add(name, measured, is_steady=True)
        if changed is not None:
            is_invalid = any(one.is_invalid for one in self.live().values())
            locust_precision.mark(is_marked=is_invalid)
            why = "; ".join(f"{one.text}: {one.hint}" for one in changed.reasons) or changed.figures
            gevent.spawn(  # in the event loop nothing may wait, and whoever logs might
                _log.log,
                _LOG_LEVELS.get(changed.level, logging.ERROR),
                "generator %s (%s): %s",
                *(changed.level.name, name, why),
            )

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        pending, self._pending = self._pending, {}
        data[_REPORT] = {
            "name": f"worker {self._runner.worker_index} ({socket.gethostname()}:{os.getpid()})",
            "measured": [[part, one.to_dict()] for part, one in pending.items()],
        }

    def _collect(self, data: dict[str, Any], **_: Any) -> None:
        if (report := data.pop(_REPORT, None)) is not None:
            for part, measured in report["measured"]:
                self._add(report["name"], SelfMeasurement.from_dict(measured), part)


def _show(web_ui: Any, judging: Judging, run: LoadRun) -> None:
    """A tab of Locust's page, by the means that it has for that, and a route."""
    arguments = web_ui.template_args
    for key, value in (
        ("extended_tabs", {"title": "Generator", "key": _TAB}),
        (
            "extended_tables",
            {
                "key": _TAB,
                "structure": [
                    {"key": "process", "title": "Process"},
                    {"key": "level", "title": "Now"},
                    {"key": "reason", "title": "Why, and what to do"},
                ],
            },
        ),
    ):
        arguments[key] = [*arguments.get(key, []), value]

    def verdict() -> Response:
        return jsonify(_as_json(judging, run))

    base_path = web_ui.app.blueprints["locust"].url_prefix or ""
    web_ui.app.add_url_rule(
        f"{base_path.rstrip('/')}/wpsload/verdict",
        "wpsload_verdict",
        web_ui.auth_required_if_enabled(verdict),
    )

    def add_rows(response: Response) -> Response:
        if request.path.endswith("/stats/requests") and response.is_json:
            extra = {"key": _TAB, "data": _rows(judging)}
            data = response.get_json()
            # Locust answers with the same response for two seconds: ours is replaced, not added.
            others = [one for one in data.get("extended_stats", []) if one["key"] != _TAB]
            data["extended_stats"] = [*others, extra]
            response.set_data(json.dumps(data))
        return response

    web_ui.app.after_request(add_rows)


def _as_json(judging: Judging, run: LoadRun) -> dict[str, Any]:
    return {
        "run": judging.verdict(run.recorder.totals()).to_dict() if judging.is_on else None,
        "now": {name: one.to_dict() for name, one in judging.live().items()},
    }


def _rows(judging: Judging) -> list[dict[str, str]]:
    return [
        {
            "process": name,
            "level": one.level.name,
            "reason": "; ".join(f"{why.text}: {why.hint}" for why in one.reasons) or one.figures,
        }
        for name, one in judging.live().items()
    ]
