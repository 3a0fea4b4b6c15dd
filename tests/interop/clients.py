"""Real third-party clients as objects: each is a process in a box that takes and reports JSON lines."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rig import Box

HERE = Path(__file__).parent
ENGINE_LIBRARIES = ("glib-2.0", "gio-2.0", "jsoncpp", "sigc++-2.0")
READY = 10.0  # seconds a client may take to start on a loaded machine


class Client:
    """A program that speaks lines. ``heard`` grows; what it lists now is ``listed()``."""

    def __init__(self, box: Box, name: str, group: str, host: str = "") -> None:
        self.box = box
        self.name = name
        self.group = group
        self.address = box.address
        self.home = Path(tempfile.mkdtemp(prefix="cri-home-"))
        self.heard: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._errors = (self.home / "stderr").open("w+b")
        self._process = subprocess.Popen(
            box.command(*self.words(), host=host),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self.environment(),
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def words(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def ready(self) -> Self:
        self.wait("started", timeout=READY)
        return self

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def started(self) -> float:
        """When it began to speak (CLOCK_MONOTONIC)."""
        return float(next(event["at"] for event in self.heard if event["event"] == "starting"))

    def do(self, what: str, **more: Any) -> float:
        """One order; returns when it was given."""
        at = time.monotonic()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()
        return at

    def wait(self, event: str, timeout: float = 5.0, since: float = 0.0, **like: Any) -> dict[str, Any]:
        """The first such event after ``since``, or an AssertionError that shows what was heard instead."""

        def first() -> dict[str, Any] | None:
            for seen in self.heard:
                if seen["event"] == event and seen["at"] >= since and like.items() <= seen.items():
                    return seen
            return None

        with self._news:
            self._news.wait_for(lambda: first() or not self._reader.is_alive(), timeout)
        found = first()
        if found is None:
            like_text = " ".join(f"{key}={value}" for key, value in like.items())
            raise AssertionError(
                f"{self!r}: no {event} {like_text} within {timeout:g} s; heard {self.heard[-8:]}"
            )
        return found

    def events(self, event: str, since: float = 0.0) -> list[dict[str, Any]]:
        return [seen for seen in list(self.heard) if seen["event"] == event and seen["at"] >= since]

    def settle(self) -> None:
        """Until its start is over."""

    def listed(self) -> dict[str, str]:
        """Who is online in its window now: address to name."""
        users: dict[str, str] = {}
        for event in list(self.heard):
            if event["event"] in ("listed", "changed"):
                users[event["address"]] = event["name"]
            elif event["event"] == "gone":
                users.pop(event["address"], None)
            elif event["event"] == "cleared":
                users.clear()
        return users

    def wait_listed(self, *others: Client, timeout: float = 5.0) -> float:
        """When the last of them came into its window (the latest time each was listed anew)."""
        times: list[float] = []
        end = time.monotonic() + timeout
        for other in others:
            with self._news:
                found = self._news.wait_for(partial(self._lists, other), max(0.0, end - time.monotonic()))
            assert found, f"{self!r} does not list {other!r} within {timeout:g} s, but {self.listed()}"
            times.append(
                max(e["at"] for e in self.heard if e["event"] == "listed" and e["address"] == other.address)
            )
        return max(times)

    def _lists(self, other: Client) -> bool:
        return self.listed().get(other.address) == other.name

    def wait_gone(self, other: Client, timeout: float = 5.0, since: float = 0.0) -> float:
        """When it stopped listing the other one."""
        event = self.wait("gone", timeout=timeout, since=since, address=other.address)
        return float(event["at"])

    def stop(self) -> float:
        """A clean end, as its user would quit. Returns when the order was given."""
        at = self.do("exit")
        self.wait("stopped")
        self.close()
        return at

    def kill(self) -> float:
        """kill -9: it says goodbye to nobody."""
        at = time.monotonic()
        self.close()
        return at

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self._errors.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.startswith("{"):  # the accessibility bus greets on our standard output, too
                continue
            with self._news:
                self.heard.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def __repr__(self) -> str:
        return f"{self.name} ({type(self).__name__} in {self.box.name}, {self.address})"


class Iptux(Client):
    """iptux 0.8.3's engine. ``pointed_at``: addresses in its own "network segments" setting."""

    def __init__(
        self,
        box: Box,
        name: str,
        group: str = "staff",
        host: str = "",
        pointed_at: Sequence[str] = (),
        charset: str = "utf-8",
    ) -> None:
        self.pointed_at = pointed_at
        self.charset = charset
        super().__init__(box, name, group, host)

    def words(self) -> Sequence[str]:
        write_iptux_settings(self.home, self.name, self.group, self.pointed_at, self.charset)
        return [str(build_engine())]

    def settle(self) -> None:
        """iptux repeats its first words after 10 ms, old name included, and loses a file offered then."""
        time.sleep(max(0.0, self.started + 0.1 - time.monotonic()))

    def do(self, what: str, **more: Any) -> float:
        self.settle()
        return super().do(what, **more)

    def rename(self, name: str) -> float:
        """Another nickname, as in its preferences."""
        self.name = name
        return self.do("rename", name=name)

    def say(self, other: Client, text: str) -> None:
        """A message that the other side must show, and receipt."""
        given = self.do("send", to=other.address, text=text)
        shown = other.wait("message", since=given, sender=self.address)
        assert shown["text"] == text
        assert self.wait("sent", since=given)["ok"], f"{self!r} got no receipt from {other!r}"

    def take_file(self, other: Client, path: Path, into: Path) -> Path:
        """Offers a file to another iptux, lets that one fetch it, returns what arrived."""
        other.settle()
        given = self.do("offer", to=other.address, path=str(path))
        offer = other.wait("file_offered", since=given, sender=self.address)
        into.mkdir(parents=True, exist_ok=True)
        other.do("fetch", number=offer["number"], into=str(into))
        arrived = other.wait("fetched", timeout=15, since=given)
        assert arrived["ok"], arrived
        return Path(arrived["path"])


class IpMessenger(Client):
    """PyPI's ipymessenger, which asks for host lists."""

    def words(self) -> Sequence[str]:
        return [sys.executable, str(HERE / "ipymessenger_client.py"), self.name, self.group]


class IptuxWindow(Client):
    """iptux with its window, under Xvfb, read through the accessibility bus."""

    def words(self) -> Sequence[str]:
        write_iptux_settings(self.home, self.name, self.group, ())
        inner = ["dbus-run-session", "--", "/usr/bin/python3", str(HERE / "iptux_window.py")]
        return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *inner]


def write_iptux_settings(
    home: Path, name: str, group: str, pointed_at: Sequence[str], charset: str = "utf-8"
) -> None:
    segments = [{"startip": at, "endip": at, "description": "relay"} for at in pointed_at]
    settings = {"version": 1, "nick_name": name, "belong_group": group, "scan_net_segment": segments}
    settings["preference_encode"] = charset
    (home / ".iptux").mkdir()
    (home / ".iptux" / "config.json").write_text(json.dumps(settings))


def engine_flags() -> list[str]:
    ran = subprocess.run(
        ["pkg-config", "--cflags", "--libs", *ENGINE_LIBRARIES], capture_output=True, text=True, check=True
    )
    return [*ran.stdout.split(), "-liptux-core", "-pthread"]


def build_engine() -> Path:
    """The compiled harness, from the cache if this very source was compiled before."""
    source = HERE / "iptux_client.cpp"
    library = Path("/usr/include/iptux-core/CoreThread.h").stat()
    mark = hashlib.sha256(source.read_bytes() + f"{library.st_size} {library.st_mtime}".encode()).hexdigest()[
        :16
    ]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "camrelay-interop"
    program = cache / f"iptux_client-{mark}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = program.with_suffix(f".{os.getpid()}")
        subprocess.run(
            ["g++", "-std=c++17", "-O1", "-o", str(fresh), str(source), *engine_flags()], check=True
        )
        fresh.rename(program)
    return program
