"""Log lines: a short lower-case phrase, then keys. Names of users are logged, bodies of messages never.

Lines go to stderr as text or JSON; under systemd with the priority that ``journalctl -p`` filters by.
Repeated lines are held back and counted. What renders them is imported by ``open``; lines said before are kept.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
SYSLOG: Final = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
KEPT: Final = 1000  # lines before ``open``
SAME_LINE_EVERY: Final = 60.0  # seconds; the very same line in between is counted only
SAME_LINES: Final = 512  # remembered: the oldest makes room
BURST: Final = 1000  # lines of one phrase at once: a segment full of users that join
PER_SECOND: Final = 20.0  # lines of one phrase in the long run


class Line(NamedTuple):
    """One line before it is rendered. ``when`` is wall time."""

    level: str
    event: str
    keys: dict[str, str | float]
    when: float


class Log:
    """Where everything is said. Cheap before ``open``; never raises for what happens to stderr."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._least = LEVELS["info"]
        self._kept: list[Line] = []
        self._render: Callable[[Line], str] | None = None
        self._stream: TextIO = sys.stderr
        self._limit = _Limit()

    def open(
        self,
        level: str = "info",
        form: str = "text",
        stream: TextIO | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Begin writing (to stderr), first what was kept. May be called again to change level or form."""
        self._least = LEVELS[level]
        self._stream = stream or self._stream
        self._render = _json() if form == "json" else _text(journal="JOURNAL_STREAM" in environment)
        kept, self._kept = self._kept, []
        for line in kept:
            self._write(line)

    def debug(self, event: str, **keys: str | float) -> None:
        """For whoever looks for a mistake."""
        self._say("debug", event, keys)

    def info(self, event: str, **keys: str | float) -> None:
        """What happens in the normal course."""
        self._say("info", event, keys)

    def warning(self, event: str, **keys: str | float) -> None:
        """Something is not as good as it could be; ``remedy`` says what to do."""
        self._say("warning", event, keys)

    def error(self, event: str, **keys: str | float) -> None:
        """Something does not work."""
        self._say("error", event, keys)

    def bug(self, event: str, error: BaseException, **keys: str | float) -> None:
        """Something failed that never should, with the traceback; we go on."""
        self._say("error", event, keys | _told(error))

    def end(self, event: str, error: BaseException, **keys: str | float) -> None:
        """A critical line, the last one, with the traceback."""
        if self._render is None:
            self.open()
        self._say("critical", event, keys | _told(error))

    def _say(self, level: str, event: str, keys: dict[str, str | float]) -> None:
        line = Line(level, event, keys, self._wall())
        if self._render is None:
            if len(self._kept) < KEPT:
                self._kept.append(line)
        elif LEVELS[level] >= self._least:
            self._write(line)

    def _write(self, line: Line) -> None:
        if self._render is None or LEVELS[line.level] < self._least:
            return
        unsaid = self._limit.held_back(line, self._clock())
        if unsaid is None:
            return
        if unsaid:
            line.keys["unsaid"] = unsaid
        try:
            self._stream.write(self._render(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # stderr is gone or closed: the daemon goes on without a log
            return


class _Limit:
    """Counts what is not worth a line of its own."""

    def __init__(self) -> None:
        self._same: dict[tuple[str | float, ...], tuple[float, int]] = {}
        self._budget: dict[str, tuple[float, float, int]] = {}  # phrase -> when, lines left, unsaid

    def held_back(self, line: Line, now: float) -> int | None:
        """None: do not write it. Else how many like it were not written before it."""
        if line.level == "critical":
            return 0
        when, left, unsaid = self._budget.get(line.event, (now, float(BURST), 0))
        left = min(float(BURST), left + (now - when) * PER_SECOND)
        if left < 1.0:
            self._budget[line.event] = now, left, unsaid + 1
            return None
        same = (line.event, *line.keys.values())
        last, times = self._same.pop(same, (-SAME_LINE_EVERY, 0))
        if now - last < SAME_LINE_EVERY:
            self._same[same] = last, times + 1
            return None
        self._same[same] = now, 0
        if len(self._same) > SAME_LINES:
            del self._same[next(iter(self._same))]
        self._budget[line.event] = now, left - 1.0, 0
        return times + unsaid


def _processors() -> Any:
    """structlog's renderers alone: 0.3 MB. All of it loads asyncio (2.5 MB) and, where it is, rich (4 MB)."""
    name = "structlog.processors"
    if name not in sys.modules:
        found = find_spec("structlog")
        assert found is not None
        # A package that is there and not run, and one that cannot be had, until the import below is done.
        aside: dict[str, Any] = {"structlog": module_from_spec(found), "rich": None}
        aside = {key: aside[key] for key in aside if key not in sys.modules}
        sys.modules |= aside
        try:
            import_module(name)
        finally:
            for key in aside:
                del sys.modules[key]
    return sys.modules[name]


def _clean(value: Any) -> Any:
    """Names come from strangers: what a terminal would act on is shown, not sent."""
    if isinstance(value, str) and not value.isprintable():
        return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in value)
    return value


@lru_cache(4)
def _second(when: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))


def _text(journal: bool) -> Callable[[Line], str]:
    pairs = _processors().LogfmtRenderer(bool_as_flag=False)

    def render(line: Line) -> str:
        keys = dict(line.keys)
        trace = str(keys.pop("exception", "")).splitlines()
        shown = pairs(None, "", {key: _clean(value) for key, value in keys.items()})
        start = SYSLOG[line.level] if journal else f"{_second(int(line.when))} {line.level:<8} "
        text = f"{start}{line.event} {shown}".rstrip()
        return "\n".join([text, *((start if journal else "    ") + part for part in trace)])

    return render


def _json() -> Callable[[Line], str]:
    render_json = _processors().JSONRenderer(ensure_ascii=False)

    def render(line: Line) -> str:
        return str(
            render_json(
                None,
                "",
                {"time": _second(int(line.when)), "level": line.level, "event": line.event} | line.keys,
            )
        )

    return render


def _told(error: BaseException) -> dict[str, str | float]:
    shown = "".join(traceback.format_exception(error)).rstrip()
    return {"error": f"{type(error).__name__}: {error}", "exception": shown}
