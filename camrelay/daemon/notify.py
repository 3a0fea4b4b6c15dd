"""What systemd and the daemon tell each other: sockets handed over, ready, status, watchdog."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
SOCKET_NAME: Final = "ipmsg"  # FileDescriptorName= in camrelay.socket


def handed_over(environment: MutableMapping[str, str] = os.environ) -> int | None:
    """The descriptor of the socket named "ipmsg" that systemd passed to this process, or None.

    A single socket without a name is taken too. The variables are removed: they are for this process only.
    """
    values = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if values["LISTEN_PID"] != str(os.getpid()) or not values["LISTEN_FDS"].isdigit():
        return None
    count = int(values["LISTEN_FDS"])
    names = values["LISTEN_FDNAMES"].split(":")
    if SOCKET_NAME in names[:count]:
        return FIRST_FD + names.index(SOCKET_NAME)
    return FIRST_FD if count == 1 and names[0] in ("", "unknown") else None


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often at least systemd wants a sign of life, or None if it does not watch this process."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6


class Notify:
    """Sends lines to the service manager; does nothing where there is none."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None

    def say(self, *lines: str) -> None:
        """For example ``say("READY=1", "STATUS=3 users here")``. A deaf manager costs nothing."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:  # it restarts, or its queue is full: the next line gets through
            return

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
