"""A tiny control server on a unix socket that speaks the daemon's protocol from a script."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from camrelay.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW: dict[str, Any] = {
    "logon": "tanaka",
    "host": "PC-01",
    "nick": "田中",
    "group": "営業",
    "address": "192.168.1.11",
    "port": 2425,
    "segment": "192.168.1.0/24",
    "state": "online",
    "home": True,
    "kind": "windows",
    "version": "4.99",
    "charset": "cp932",
    "away": False,
    "joined": 3700.0,
    "last_seen": 12.0,
    "twin": None,
    "via": None,
}

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4711,
    "uptime": 7500.0,
    "relay": {
        "name": "hq-1f",
        "can_speak": True,
        "segments": [
            {
                "name": "192.168.1.0/24",
                "kind": "local",
                "interface": "eth0",
                "address": "192.168.1.2",
                "online": 3,
                "offline": 1,
                "addresses": 0,
                "swept": None,
                "next_sweep": None,
                "served_by": None,
            },
            {
                "name": "192.168.2.*",
                "kind": "remote",
                "interface": None,
                "address": None,
                "online": 2,
                "offline": 0,
                "addresses": 254,
                "swept": 65.0,
                "next_sweep": 1.0,
                "served_by": None,
            },
        ],
        "online": 5,
        "offline": 1,
        "unserved": 0,
        "logon": "camrelay-<8afb10eea9bae83c>",
        "signed": 0,
        "waiting": 0,
        "sweeping": 0,
        "master": [],
        "foreign": {},
        "counters": {},
    },
    "sockets": {
        "source": "own",
        "receive_buffer": 8388608,
        "receive_buffer_wanted": 8388608,
        "send_buffer": 4194304,
    },
    "database": {"path": "/var/lib/camrelay/roster.db", "users": 6, "last_write": 3.0, "error": None},
    "config": {"path": "/etc/camrelay/camrelay.toml", "loaded": 7500.0, "problem": None},
    "warnings": [],
    "counters": {"datagrams received": 1234, "malformed": 0},
    "fleet": {
        "id": "",
        "name": "hq-1f",
        "words": "",
        "addresses": ["192.168.1.2:2425"],
        "problem": "",
        "removed_by": "",
        "removed": None,
        "rotating": False,
        "awaited": [],
        "invitations": [],
        "peers": [],
    },
}


class Daemon:
    """Answers each connection's one request with ``lines[do]`` and hangs up; ``asked`` holds the requests."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "control.sock"
        self.config = directory / "camrelay.toml"
        self.config.write_text(f'[relay]\ncontrol = "{self.path}"\n')
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[dict[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def answers(
        self, do: str, result: Any, before: tuple[Any, ...] = (), after: tuple[Any, ...] = ()
    ) -> None:
        """Script the answer to ``do``: events before the result, the result, events after it."""
        self.lines[do] = [
            *({"v": 1, "event": event} for event in before),
            {"v": 1, "ok": True, "result": result},
            *({"v": 1, "event": event} for event in after),
        ]

    def refuses(self, do: str, error: str, code: int) -> None:
        """Script a refusal."""
        self.lines[do] = [{"v": 1, "ok": False, "error": error, "exit": code}]

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as reader:
                line = reader.readline()
                if not line:
                    return
                self.asked.append(json.loads(line))
                for answer in self.lines[self.asked[-1]["do"]]:
                    connection.sendall(json.dumps(answer).encode() + b"\n")

    def stop(self) -> None:
        """Nobody answers any more."""
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._thread.join()
        self._listener.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A running daemon, reached by ``--config daemon.config``."""
    made = Daemon(tmp_path)
    made.answers("status", STATUS)
    made.answers("users", [ROW])
    yield made
    made.stop()


class Ran:
    """What one command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line in this process."""

    def run(*words: object) -> Ran:
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return run
