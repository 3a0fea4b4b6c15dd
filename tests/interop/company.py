"""The relays of the fault laboratory, made a fleet, and the command line asked about many addresses at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .faultmap import BOXES, DEAD, IN_CIRCLES, NAT_ADDRESS, NO_ROUTE, RELAYS, place
from .relay_box import ROOT, RelayBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .faults import Faults

LINKED = 30.0  # seconds that linking all may take on a loaded machine
KNOWN = 30.0  # and until all that can be heard is in rh's roster
AT_ONCE = 8  # traces that one relay does at a time (daemon/tracing, MOST_AT_ONCE)
LONGEST = 60.0  # seconds for one trace on a loaded machine

# What rh sweeps: single addresses, since the neighbour table is one for the whole kernel.
WITHOUT_RELAY = [
    *(place(name) for name in BOXES if name[0] in "nupqk"),
    DEAD["behind a router"],
    NAT_ADDRESS,
    IN_CIRCLES,
    NO_ROUTE,
]
# Who is heard, by rh itself or by a relay over there, before anything is asked.
HEARD = {
    *("h11", "h14", "h15", "h16", "h18", "h19", "h20", "h21", "h22", "m11", "m12", "m13", "m14", "m15"),
    *("n11", "n12", "n22", "u11", "u12", "o11", "o19", "t11", "k11", "f11"),
}


@dataclass
class Traced:
    """What one trace printed as JSON."""

    words: tuple[str, ...]
    code: int
    seconds: float
    shown: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """All of them; `why` has those of each user who fits."""
        return [
            one for about in (self.shown, *self.shown.get("users", ())) for one in about.get("verdicts", ())
        ]

    def __str__(self) -> str:
        facts = [
            f"  {one.get('role', ''):>5} {one['check']:<12} {one['outcome']:<14} {one.get('seconds', 0):6.2f} s"
            f"  {one.get('detail', '')}"
            for one in self.shown.get("facts", ())
        ]
        said = [f"  -> {one['severity']} {one['id']}: {one['say']}" for one in self.verdicts]
        title = f"{' '.join(self.words)}: code {self.code}, {self.seconds:.1f} s {self.error}"
        return "\n".join([title, *facts, *said])


class Company:
    """Six relays. ``asking``: the seconds that the last ``ask`` took."""

    asking = 0.0

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.relays = {
            name: RelayBox(faults[name], segments=WITHOUT_RELAY if name == "rh" else (), where=_memory())
            for name in RELAYS
        }

    def __getitem__(self, name: str) -> RelayBox:
        return self.relays[name]

    def open(self) -> None:
        """Until rh knows all whom it can know; then wire u gets its fault."""
        self.faults.shut(False)
        for relay in self.relays.values():
            relay.start()
        for relay in self.relays.values():
            relay.ready()
        hub = self["rh"]
        for name, relay in self.relays.items():
            if name != "rh":
                relay.ask("join", token=hub.ask("invite", name=name)["token"])
        _until_none(self._unlinked, LINKED, "rh is not linked with")
        self.faults.refresh()
        heard = {place(name) for name in HEARD}
        _until_none(lambda: heard - hub.online(), KNOWN, "rh does not know")
        self.faults.shut(True)

    def _unlinked(self) -> set[str]:
        linked = {row["name"] for row in self["rh"].ask("peers")["peers"] if row["state"] == "linked"}
        return set(RELAYS) - {"rh"} - linked

    def ask(self, asked: Iterable[tuple[str, tuple[str, ...]]]) -> list[Traced]:
        """``camrelay ... --json`` on these relays' boxes, as many at once as one relay takes; in their order."""
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            traced = list(pool.map(lambda one: self.run(one[0], *one[1]), asked))
        self.asking = time.monotonic() - began
        return traced

    def run(self, relay: str, *words: str) -> Traced:
        """One subcommand of ``camrelay`` on this relay's box."""
        here = self[relay]
        command = [sys.executable, "-m", "camrelay", *words, "--json", "--config", str(here.config)]
        began = time.monotonic()
        ran = subprocess.run(
            here.box.command(*command),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
            timeout=LONGEST,
            check=False,
        )
        seconds = time.monotonic() - began
        try:
            shown = json.loads(ran.stdout)
        except ValueError:
            shown = {}
        return Traced(words, ran.returncode, seconds, shown, ran.stderr.strip()[-2000:])

    def close(self) -> None:
        for relay in self.relays.values():
            relay.close()


def _memory() -> Path | None:
    """Where a file is kept without a disk, which on a busy machine may take ten seconds for a write."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else None


def _until_none(missing: Callable[[], set[str]], seconds: float, what: str) -> None:
    """Looks ten times a second: relays that have much to do are not to be kept from it."""
    end = time.monotonic() + seconds
    while missed := missing():
        assert time.monotonic() < end, f"after {seconds:g} s {what} {sorted(missed)}"
        time.sleep(0.1)
