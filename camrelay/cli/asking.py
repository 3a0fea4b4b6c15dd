"""Asking the running daemon: the configuration says where it listens, its answers are plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def answers(
    config: Path | None,
    request: dict[str, Any],
    connected: Callable[[Callable[[], None]], object] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Ask, and yield ("event", value) for each event, ("result", value) once, then further events.

    ``connected``: see ``client.ask``.
    """
    from camrelay.config import load
    from camrelay.daemon import client

    yield from client.ask(load(config).relay.control, request, connected)


def result(config: Path | None, request: dict[str, Any]) -> Any:
    """Ask, and return the result alone."""
    from camrelay.errors import ControlError

    for what, value in answers(config, request):
        if what == "result":
            return value
    raise ControlError("the daemon closed the connection without an answer")
