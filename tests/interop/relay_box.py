"""The daemon under test, as an object: started, killed and asked like an administrator would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import camrelay

from .rig import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rig import Box

ROOT = Path(camrelay.__file__).parents[1]
READY = 10.0


def _toml(values: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


class RelayBox:
    """One camrelay in one box, with a state directory of its own that outlives its processes."""

    def __init__(
        self,
        box: Box,
        *,
        segments: Sequence[str] = (),
        relay: Sequence[str] = (),
        remote: Sequence[str] = (),
        users: Sequence[str] = (),
        peers: Sequence[str] = (),
        where: Path | None = None,
    ) -> None:
        """Serves all interfaces of the box. ``relay``, ``remote``, ``users``, ``peers``: more lines there.

        ``where``: the folder for its files, which are on a disk otherwise.
        """
        self.box = box
        self.address = box.address
        self.folder = Path(tempfile.mkdtemp(prefix="cri-relay-", dir=where))
        self.state = self.folder / "state"
        self.control = self.folder / "control.sock"
        self.log = self.folder / "log"
        self.config = self.folder / "camrelay.toml"
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(segments=segments, relay=relay, remote=remote, users=users, peers=peers)

    def configure(
        self,
        *,
        segments: Sequence[str] = (),
        relay: Sequence[str] = (),
        remote: Sequence[str] = (),
        users: Sequence[str] = (),
        peers: Sequence[str] = (),
    ) -> None:
        lines = [
            "[relay]",
            f'name = "{self.box.name}"',
            f"interfaces = {_toml(self.box.interfaces)}",
            f'state = "{self.state}"',
            f'control = "{self.control}"',
            *relay,
            "[remote]",
            f"segments = {_toml(segments)}",
            *remote,
            "[users]",
            *users,
            *(("[peers]", *peers) if peers else ()),
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self) -> float:
        """Starts it and returns when that was; ``ready`` waits for its control socket."""
        at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.box.command(sys.executable, "-m", "camrelay", "run", "--config", str(self.config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        return at

    def reload(self) -> None:
        """SIGHUP, and until the configuration that was written since is in force."""
        assert self._process is not None
        at = time.monotonic()
        self._process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: self.status()["config"]["loaded"] < time.monotonic() - at, READY, f"{self!r} has reloaded"
        )

    def ready(self) -> RelayBox:
        wait_until(self._answers, READY, f"{self!r} answers at its control socket; its log: {self.tail()}")
        return self

    def _answers(self) -> bool:
        from camrelay.errors import ControlError

        assert self._process is None or self._process.poll() is None, f"{self!r} ended: {self.tail()}"
        try:
            self.ask("status")
        except (ControlError, OSError):
            return False
        return True

    def ask(self, what: str, **more: Any) -> Any:
        """One request at the control socket, its result."""
        from camrelay.daemon import client

        return client.result(self.control, {"v": 1, "do": what, **more})

    def users(self) -> dict[str, dict[str, Any]]:
        """The roster by address, as ``camrelay users --json`` shows it; of several at one, who is online."""
        users = sorted(self.ask("users", watch=False), key=lambda user: user["state"] == "online")
        return {user["address"]: user for user in users}

    def online(self) -> set[str]:
        return {address for address, user in self.users().items() if user["state"] == "online"}

    def written(self) -> bool:
        """Is on disk whom it hears, and nobody else: would a kill -9 lose nothing?"""
        users = [user for user in self.users().values() if user["home"] and user["state"] == "online"]
        heard = {user["address"]: user["nick"] for user in users}
        with closing(sqlite3.connect(f"file:{self.state / 'roster.db'}?mode=ro", uri=True)) as database:
            rows = dict(database.execute("SELECT address, datagram FROM users WHERE online"))
        return rows.keys() == heard.keys() and all(nick.encode() in rows[at] for at, nick in heard.items())

    def status(self) -> dict[str, Any]:
        return dict(self.ask("status"))

    def sweep(self, *segments: str) -> dict[str, int]:
        """Begins a pass over the remote segments, as ``camrelay sweep``; the first word of its progress."""
        from camrelay.daemon import client

        answers = client.ask(self.control, {"v": 1, "do": "sweep", "segments": segments})
        what, progress = next(answers)
        assert what == "event", (what, progress)
        return dict(progress)

    def command_line(self, *words: str) -> str:
        """What a ``camrelay`` subcommand prints for this relay; it must end with 0."""
        command = [sys.executable, "-m", "camrelay", *words, "--config", str(self.config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        assert ran.returncode == 0, f"{words}: exit code {ran.returncode}: {ran.stderr}"
        return ran.stdout

    def trace(self, *words: str) -> tuple[int, dict[str, Any]]:
        """``camrelay trace`` in JSON: its exit code, 0 or 1, and what it says."""
        command = [sys.executable, "-m", "camrelay", "trace", *words, "--json", "--config", str(self.config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        assert ran.returncode in (0, 1), f"{words}: exit code {ran.returncode}: {ran.stderr}"
        assert ran.stdout, ran.stderr
        return ran.returncode, dict(json.loads(ran.stdout))

    def invite(self) -> Path:
        """``camrelay peer invite``: a file with the token, as somebody would carry it to the new box."""
        words = self.command_line("peer", "invite").split()
        path = self.folder / "token"
        path.write_text(next(word for word in words if word.startswith("camrelay1-")) + "\n")
        return path

    def join(self, token: Path) -> str:
        """``camrelay peer join``: what it prints."""
        return self.command_line("peer", "join", "--token-file", str(token))

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> float:
        """kill -9."""
        return self._end(signal.SIGKILL)

    def stop(self) -> float:
        """SIGTERM, as systemd does it."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> float:
        at = time.monotonic()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(how)
            try:
                self._process.wait(10)
            finally:
                if self._process.poll() is None:
                    self._process.kill()
                    self._process.wait()
            self._process = None
        return at

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else "(no log)"

    def found_a_bug(self) -> bool:
        """Did anything go wrong in it that is its own fault?"""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "Traceback" in log or "critical" in log or " bug" in log

    def __repr__(self) -> str:
        return f"relay {self.box.name} ({self.address})"
