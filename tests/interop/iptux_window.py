"""iptux with its window on a screen of its own, read over AT-SPI: the roster as a person sees it.

Runs under Debian's own python3 (it needs python3-gi) inside ``dbus-run-session``. Reports like
``iptux_client.cpp``: "starting", "started", then "listed" and "gone" as rows of the window come and go.
Ends with its standard input.
"""

import json
import os
import pathlib
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import gi  # type: ignore[import-not-found]

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # type: ignore[import-not-found]  # noqa: E402


def say(event: str, **what: object) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **what}), flush=True)


def start_screen() -> None:
    """An X server of its own; DISPLAY names it. It ends with the namespace of processes that it runs in."""
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    subprocess.Popen(
        ["Xvfb", "-displayfd", str(theirs), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[theirs],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    with os.fdopen(ours) as numbers:
        os.environ["DISPLAY"] = ":" + numbers.readline().strip()


def cells(node: Atspi.Accessible, depth: int = 0) -> Iterator[str]:
    """The texts of all table cells below an accessible object."""
    if depth > 20:
        return
    for position in range(node.get_child_count()):
        child = node.get_child_at_index(position)
        if child is None:
            continue
        if child.get_role() == Atspi.Role.TABLE_CELL and child.get_name():
            yield child.get_name()
        yield from cells(child, depth + 1)


def roster() -> dict[str, str]:
    """Address to name of the rows in iptux's window: each is "name NEWLINE address"."""
    users: dict[str, str] = {}
    desktop = Atspi.get_desktop(0)
    for position in range(desktop.get_child_count()):
        program = desktop.get_child_at_index(position)
        if program is None or "iptux" not in (program.get_name() or "").lower():
            continue
        for text in cells(program):
            name, _, address = text.partition("\n")
            if address.count(".") == 3:
                users[address.strip()] = name.strip()
    return users


def main() -> None:
    say("starting")
    home = pathlib.Path.home()
    (home / ".config/iptux/log").mkdir(parents=True, exist_ok=True)
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ.update(
        XDG_RUNTIME_DIR=str(runtime), GTK_MODULES="gail:atk-bridge", NO_AT_BRIDGE="0", GDK_BACKEND="x11"
    )
    start_screen()
    with open(home / "iptux.log", "wb") as log:
        window = subprocess.Popen(["iptux"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    Atspi.init()
    say("started")
    before: dict[str, str] = {}
    while window.poll() is None:
        if select.select([sys.stdin], [], [], 0.1)[0]:  # the only order is to end
            break
        try:
            after = roster()
        except GLib.Error:  # the window changes while it is read
            continue
        for address in after.keys() - before.keys():
            say("listed", address=address, name=after[address])
        for address in before.keys() - after.keys():
            say("gone", address=address, name=before[address])
        before = after
    say("stopped", code=window.poll())


if __name__ == "__main__":
    main()
