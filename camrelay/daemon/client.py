"""The asking side of the control socket: plain blocking sockets, no trio, cheap to import."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from camrelay.daemon.answers import VERSION
from camrelay.errors import ControlError, NotRunning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from os import PathLike

# The daemon answers within milliseconds; this long without a line means that it hangs.
PATIENCE = 10.0


def ask(
    path: str | PathLike[str],
    request: Mapping[str, Any],
    connected: Callable[[Callable[[], None]], object] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Send one request ({"do": ...}) and yield ("event", value) and, once, ("result", value).

    Connects at once; NotRunning if nobody answers at ``path``, ControlError if the daemon refuses. After the
    result of a watch it goes on with events until the daemon ends or the iterator is closed.

    ``connected`` is given a function that tells the daemon that we have seen enough; its last words still come.
    """
    connection = _connect(str(path))
    if connected is not None:
        connected(partial(_enough, connection))
    try:
        connection.sendall(json.dumps({"v": VERSION, **request}).encode() + b"\n")
    except OSError as error:
        connection.close()
        raise ControlError(f"the daemon at {path} closed the connection: {error.strerror}") from None
    return _answers(connection, str(path), watch=bool(request.get("watch")))


def result(path: str | PathLike[str], request: Mapping[str, Any]) -> Any:
    """Ask and return the result alone."""
    for what, value in ask(path, request):
        if what == "result":
            return value
    raise ControlError(f"the daemon at {path} ended without an answer")


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            text = f"not allowed to ask the daemon at {path}: join the group camrelay, or use sudo"
            raise ControlError(text) from None
        text = f"no daemon answers at {path}: start it with `systemctl start camrelay` or `camrelay run`"
        raise NotRunning(text) from None
    return connection


def _enough(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        connection.shutdown(socket.SHUT_WR)


def _answers(connection: socket.socket, path: str, watch: bool) -> Iterator[tuple[str, Any]]:
    with connection, connection.makefile("rb") as lines:
        done = False
        try:
            for line in lines:
                if not line.endswith(b"\n"):
                    raise ControlError(f"the daemon at {path} ended in the middle of its answer")
                answer = _read(line, path)
                if "event" in answer:
                    yield "event", answer["event"]
                    continue
                if not answer.get("ok"):
                    refusal = ControlError(str(answer.get("error", "the daemon gave no reason")))
                    refusal.exit_code = int(answer.get("exit", 1))
                    raise refusal
                yield "result", answer.get("result")
                if not watch:
                    return
                connection.settimeout(None)  # now nothing may happen for hours
                done = True
            if not done:
                raise ControlError(f"the daemon at {path} ended without an answer")
        except TimeoutError:
            raise ControlError(f"the daemon at {path} did not answer within {PATIENCE:.0f} s") from None
        except OSError as error:
            raise ControlError(f"the daemon at {path} closed the connection: {error.strerror}") from None


def _read(line: bytes, path: str) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or answer.get("v") != VERSION:
        raise ControlError(
            f"what answers at {path} does not speak version {VERSION}: is it another camrelay?"
        )
    return answer
