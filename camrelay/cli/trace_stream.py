"""What a watch tells, read in a thread: a terminal that is stopped, or ``less``, keeps the daemon waiting for nothing.

Rule kept here: what does not fit in is left out here, and counted.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOM: Final = 256  # pieces of at most 64 lines: some 10 MB


@contextmanager
def interruptible(enough: Callable[[], bool]) -> Iterator[None]:
    """Ctrl-C calls ``enough``; where that says that it was called before, it interrupts. One that is ignored stays so.

    As an exception it would come anywhere: in the middle of the queue, with an event in hand.
    """
    before = signal.getsignal(signal.SIGINT)

    def asked(*_: object) -> None:
        if not enough():
            raise KeyboardInterrupt

    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Stream:
    """The events of one request, one after the other. Raises what the daemon refuses with. ``lost``: lines left out."""

    def __init__(self, config: Path | None, request: dict[str, Any], room: int = ROOM) -> None:
        self.lost = 0
        self._config = config
        self._request = request
        self._queue: Queue[dict[str, Any] | Exception | None] = Queue(room)
        self._thread = threading.Thread(target=self._read, name="watch", daemon=True)
        self._hang_up: Callable[[], None] | None = None
        self._asked = self._closed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        self.enough()
        while not self._queue.empty():  # the thread may wait for room
            self._queue.get()
        self._thread.join(1)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        found = self._queue.get()
        if found is None:
            raise StopIteration
        if isinstance(found, Exception):
            raise found
        return found

    def enough(self) -> bool:
        """Let the daemon come to an end; what it has counted still comes. False if that was asked before."""
        first, self._asked = not self._asked, True
        if first and self._hang_up is not None:
            self._hang_up()
        return first

    def _read(self) -> None:
        from camrelay.cli.asking import answers
        from camrelay.errors import CamrelayError

        try:
            for what, event in answers(self._config, self._request, self._connected):
                if what == "event" and event:
                    self._put(event)
        except (CamrelayError, OSError) as error:
            self._last(error)
        else:
            self._last(None)

    def _connected(self, hang_up: Callable[[], None]) -> None:
        self._hang_up = hang_up
        if self._asked:
            hang_up()

    def _put(self, event: dict[str, Any]) -> None:
        if self._closed:
            return
        if "lines" not in event:
            self._queue.put(event)
            return
        try:
            self._queue.put_nowait(event)
        except Full:
            self.lost += len(event["lines"])

    def _last(self, outcome: Exception | None) -> None:
        if not self._closed:
            self._queue.put(outcome)
