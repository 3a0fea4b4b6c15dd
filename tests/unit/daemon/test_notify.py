"""Sockets from systemd, and lines to it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from camrelay.daemon.notify import Notify, handed_over, watchdog_seconds

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("names", "count", "found"),
    [
        ("ipmsg", "1", 3),
        ("peers:ipmsg", "2", 4),
        ("peers:ipmsg", "1", None),  # the second name has no socket
        ("unknown", "1", 3),  # a unit without FileDescriptorName=
        ("", "1", 3),
        ("peers", "1", None),
        ("unknown:unknown", "2", None),
        ("ipmsg", "x", None),
        ("", "0", None),
    ],
)
def test_the_socket_is_found_by_its_name(names: str, count: str, found: int | None) -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": names, "PATH": "/"}
    assert handed_over(environment) == found
    assert environment == {"PATH": "/"}, "no child may take them for its own"


def test_sockets_of_another_process_are_not_ours() -> None:
    assert handed_over({"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "ipmsg"}) is None
    assert handed_over({}) is None


def test_lines_go_to_the_address_systemd_names(tmp_path: Path) -> None:
    for name, address in ((f"@{tmp_path}", f"\0{tmp_path}"), (f"{tmp_path}/s", f"{tmp_path}/s")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            notify = Notify({"NOTIFY_SOCKET": name})
            notify.say("READY=1", "STATUS=3 users here")
            assert systemd.recv(100) == b"READY=1\nSTATUS=3 users here"
        notify.say("nobody is left to hear this")
        notify.close()


def test_without_systemd_nothing_is_sent() -> None:
    notify = Notify({})
    notify.say("READY=1")
    notify.close()


def test_the_watchdog_is_meant_for_this_process_only() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 30.0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 30.0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_seconds({}) is None
