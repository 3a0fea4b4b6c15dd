"""How long the loop was busy without looking at its sockets: the one number that says whether it keeps up."""

from __future__ import annotations

import time

import trio


class Stalls(trio.abc.Instrument):
    """The longest stall so far, in seconds. Costs two looks at the clock per turn of the loop."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._since: float | None = None

    def after_io_wait(self, timeout: float) -> None:
        """The loop begins to work."""
        self._since = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """The loop has done what there was to do."""
        if self._since is not None:
            self.longest = max(self.longest, time.perf_counter() - self._since)


def suspended() -> float:
    """Seconds this machine has slept since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
