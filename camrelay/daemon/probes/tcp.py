"""Does a TCP port let us in? Asked by connecting, and hanging up at once without a word."""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

import trio

from camrelay.daemon.probes import troubles
from camrelay.daemon.probes.ways import way
from camrelay.trace.facts import Fact

WAIT: Final = 3.3  # seconds: three requests for a MAC, a second apart, and then the word that nobody has it


async def tcp_fact(address: str, port: int, wait: float = WAIT, check: str = "tcp") -> Fact:
    """open (ms) | refused (by) | silent | unreachable (by, kind) | prohibited (by); all with port."""
    start = trio.current_time()
    detail: dict[str, Any] = {"port": port}
    outcome = "silent"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        sock.setsockopt(socket.IPPROTO_IP, troubles.IP_RECVERR, 1)
        error = sock.connect_ex((address, port))
        with trio.move_on_after(wait):
            if error == errno.EINPROGRESS:
                await trio.lowlevel.wait_writable(sock)
                error = 0
        ms = round((trio.current_time() - start) * 1000, 1)
        if error != errno.EINPROGRESS:
            outcome, more = _outcome(sock, error, address)
            detail |= more
    if outcome == "open":
        detail["ms"] = ms
    return Fact(check, outcome, ms / 1000, detail=detail)


def _outcome(sock: socket.socket, error: int, address: str) -> tuple[str, dict[str, Any]]:
    """Of a connection that was decided; the error queue names who said no."""
    error = error or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    said = next(troubles.troubles(sock), None)
    if said is None and not error and _connected(sock):
        return "open", {}
    if said is None and error in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "refused", {"by": address}
    if said is None and error in (0, errno.ETIMEDOUT):
        return "silent", {}
    said = said or troubles.own(OSError(error, ""))
    outcome = said.kind if said.kind in ("refused", "prohibited") else "unreachable"
    return outcome, said.detail(way(address).source)


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
