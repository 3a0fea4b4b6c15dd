"""What a watcher costs the relay: the same flood with nobody looking and with somebody, side by side, one daemon.

``python -m tests.bench.watching [ROUNDS]``. All take turns within a round; what counts is the ratio of CPU time per
datagram to that of the round's own "nobody", and that as many are taken and passed on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.daemon import ROOT, environment, running
from tests.bench.throughput import LEARN_RATE
from tests.bench.wires import USERS, wires

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = 10_000  # datagrams per second
SECONDS = 4.0
WATCHERS: dict[str, list[str] | None] = {
    "nobody": None,
    "lines": [],
    "one user": ["--user", "no such user"],
    "one command": ["--command", "sendmsg"],
    "only counting": ["--stats"],
}
FLOODS = {"repeats": "lunch", "changes": "change"}


@contextmanager
def watcher(config: Path, words: list[str] | None) -> Iterator[dict[str, Any]]:
    """Somebody who watches while the body runs, and what it was told at the end."""
    told: dict[str, Any] = {}
    if words is None:
        yield told
        return
    command = [
        sys.executable,
        "-m",
        "camrelay",
        "packet-trace",
        "watch",
        "--json",
        "--config",
        str(config),
        *words,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment(), text=True) as process:
        time.sleep(1.0)
        reader = Drain(process)
        yield told
        process.send_signal(signal.SIGINT)
        told.update(reader.last())


class Drain:
    """Reads all and keeps the last line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._last = "{}"
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._last = line

    def last(self) -> dict[str, Any]:
        self._thread.join()
        return dict(json.loads(self._last).get("totals", {}))


def main(rounds: int) -> None:
    """Print a table."""
    costs: dict[tuple[str, str], list[float]] = {}
    with wires() as lab:
        for number in range(rounds):
            folder = lab.scratch / f"watched{number}"
            with running(lab.box, folder, ['interfaces = ["left", "right"]'], lab.for_measured) as daemon:
                lab.flood(["entry"], rate=LEARN_RATE, count=USERS)
                daemon.rest(most=120.0)
                config = next(folder.glob("*.toml"))
                for flood, file in FLOODS.items():
                    for name, words in WATCHERS.items():
                        with watcher(config, words) as told:
                            heard, before = daemon.counters()["datagrams heard"], daemon.cpu()
                            with lab.sink() as sink:
                                sent = lab.flood([file], rate=RATE, seconds=SECONDS)
                                daemon.rest(quiet=0.5)
                                used = daemon.cpu() - before
                                sink.count()
                        counters = daemon.counters()
                        taken = counters["datagrams heard"] - heard
                        costs.setdefault((flood, name), []).append(used / taken * 1e6)
                        stall = counters.get("longest loop stall in ms", 0)
                        print(
                            f"{number} {flood:8} {name:14} sent {sent:6} taken {taken:6} passed on {sink.total:6}"
                            f"  {used / taken * 1e6:5.1f} us  stall {stall} ms  {told}",
                            flush=True,
                        )
    for (flood, name), found in costs.items():
        ratio = median(a / b for a, b in zip(found, costs[flood, "nobody"], strict=True))
        print(f"{flood:8} {name:14} {median(found):5.1f} us a datagram, x {ratio:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
