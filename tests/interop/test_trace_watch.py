"""Watching the running daemon between real clients: all is shown, told apart, saved, and relayed as ever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import ONCE
from .relay_box import ROOT
from .rig import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Measure, StartIptux, StartRelay
    from .relay_box import RelayBox

pytestmark = pytest.mark.interop


def _interruptible() -> None:
    """As in a terminal: who runs the tests in the background has SIGINT ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Watcher:
    """A ``camrelay packet-trace watch --json`` beside the daemon."""

    def __init__(self, relay: RelayBox, out: Path, *words: str) -> None:
        self._out = out
        command = [sys.executable, "-m", "camrelay", "trace", "watch", "--json", *words]
        with out.open("wb") as file:
            self._process = subprocess.Popen(
                [*command, "--config", str(relay.config)],
                stdout=file,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                preexec_fn=_interruptible,
            )

    def lines(self) -> list[dict[str, Any]]:
        """Whole ones until now."""
        return [
            json.loads(line)
            for line in self._out.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def said(self, **wanted: Any) -> list[dict[str, Any]]:
        """Those with these values."""
        return [line for line in self.lines() if all(line.get(key) == value for key, value in wanted.items())]

    def end(self) -> dict[str, Any]:
        """Ctrl-C, and its last words."""
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(10) == 0
        return self.lines()[-1]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def watchers() -> Iterator[list[Watcher]]:
    found: list[Watcher] = []
    yield found
    for watcher in found:
        watcher.close()


@ONCE
def test_what_real_clients_say_is_shown_and_relayed(
    iptux: StartIptux, relay: StartRelay, measure: Measure, tmp_path: Path, watchers: list[Watcher]
) -> None:
    dual = relay("dual")
    everything = Watcher(dual, tmp_path / "all", "--write", str(tmp_path / "all.pcapng"))
    to_b = ["--segment", "10.77.2.0/24", "--direction", "out", "--write", str(tmp_path / "b.pcapng")]
    about_b = Watcher(dual, tmp_path / "b", *to_b)
    watchers += [everything, about_b]
    for name in ("all.pcapng", "b.pcapng"):
        wait_until((tmp_path / name).exists, 20, f"the watch that writes {name} has begun")
    alice = iptux("a11", "alice")
    carol = iptux("b11", "キャロル")
    measure("joined while watched", alice.wait_listed(carol) - carol.started, at_most=2)
    carol.wait_listed(alice)

    (joined,) = wait_until(
        lambda: [one for one in everything.said(source=carol.address) if "user joined" in one["fate"]],
        5,
        "carol's join with what the relay made of it",
    )
    assert (joined["direction"], joined["command"], joined["name"]) == ("in", "BR_ENTRY", "キャロル")
    assert joined["summary"].startswith("BR_ENTRY ")
    assert '"キャロル"' in joined["summary"]
    assert ", iptux " in joined["summary"]
    spoken = wait_until(
        lambda: everything.said(direction="out", speak_as="キャロル"), 5, "what was said in carol's name"
    )
    assert {one["source"] for one in spoken} == {carol.address}

    last, last_b = everything.end(), about_b.end()
    rows = {row["address"]: row for row in last["users"]}
    assert rows[carol.address]["user"] == "キャロル"
    assert min(rows[carol.address][key] for key in ("from_packets", "to_packets", "as_packets")) > 0
    shown = [one for one in everything.lines() if "summary" in one]
    assert last["totals"]["in_packets"] + last["totals"]["out_packets"] == len(shown)
    assert (last["totals"]["lost"], last["totals"]["skipped"]) == (0, 0)
    assert {one["direction"] for one in about_b.lines()[:-1]} == {"out"}
    assert all("10.77.2." in one["target"] + one["source"] for one in about_b.lines()[:-1])
    assert last_b["totals"]["in_packets"] == 0
    _wireshark_reads(tmp_path / "all.pcapng", len(shown))


def _wireshark_reads(path: Path, packets: int) -> None:
    if shutil.which("tshark") is None:
        return
    command = [
        "tshark",
        "-r",
        str(path),
        "-o",
        "udp.check_checksum:TRUE",
        "-Tfields",
        "-eudp.checksum.status",
        "-eip.src",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    rows = [row.split("\t") for row in ran.stdout.splitlines()]
    assert len(rows) == packets
    assert {status for status, _ in rows} == {"1"}
    assert all(source.startswith("10.77.") for _, source in rows)
