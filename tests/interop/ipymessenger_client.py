"""A scripted ipymessenger (PyPI), driven by lines on standard input like ``iptux_client.cpp``.

Run as ``python ipymessenger_client.py NAME GROUP``. Input: JSON objects {"do": NAME, ...}; output:
{"event": NAME, "at": SECONDS, ...} with CLOCK_MONOTONIC seconds. The library asks for host lists itself, at
the start and every minute, and knows users by their nickname. It has no farewell: "exit" just ends.

    roster              -> roster {users: [...]}
    send {to, text}     -> sent {number}, later delivered {number} when the receipt came
    exit                -> stopped
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from ipymessenger.IpmsgServer import IpmsgServer  # type: ignore[import-untyped]

_output = threading.Lock()


def say(event: str, **what: Any) -> None:
    line = json.dumps({"event": event, "at": time.monotonic(), **what})
    with _output:
        print(line, flush=True)


def listed(server: IpmsgServer) -> dict[str, dict[str, Any]]:
    return {
        user.addr: {
            "address": user.addr,
            "port": int(user.port),
            "name": (user.nick_name or "").rstrip("\0"),
            "logon": user.user_name,
            "host": user.host_name,
            "group": (user.group or "").rstrip("\0"),
            "online": True,
        }
        for user in dict(server.host_list_dict).values()
    }


def watch(server: IpmsgServer, sent: list[str]) -> None:
    """What it lists and what was receipted, as events; it calls nobody back for either."""
    before: dict[str, dict[str, Any]] = {}
    receipted: set[str] = set()  # seen so twice: between its two queues a message is in neither for a moment
    while not server.stop_event.is_set():
        after = listed(server)
        for address, user in after.items():
            if address not in before:
                say("listed", **user)
            elif before[address] != user:
                say("changed", **user)
        for address in before.keys() - after.keys():
            say("gone", **before[address])
        before = after
        again = {number for number in sent if server.check_sended_message(number)}
        for number in again & receipted:
            sent.remove(number)
            say("delivered", number=number)
        receipted = again
        time.sleep(0.005)


def main() -> None:
    name, group = sys.argv[1:]
    threading.excepthook = lambda hit: say("died", reason=repr(hit.exc_value))
    say("starting")
    server = IpmsgServer(name, group, use_port=2425)
    server.set_sendmsg_handler(
        lambda message: say("message", text=message.message.rstrip("\0"), sender=message.addr)
    )
    server.start()
    sent: list[str] = []
    threading.Thread(target=watch, args=(server, sent), daemon=True).start()
    say("started")
    for text in sys.stdin:
        line = json.loads(text)
        if line["do"] == "exit":
            break
        if line["do"] == "roster":
            say("roster", users=list(listed(server).values()))
        elif line["do"] == "send":
            number = server.send_message(line["to"], line["text"])
            say("sent", number=number)
            sent.append(number)
        else:
            say("refused", reason=f"unknown: {line['do']}")
    server.stop()
    server.join(2)
    say("stopped")


if __name__ == "__main__":
    main()
