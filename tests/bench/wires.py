"""A (flood: 20,000 users) --- box (who is measured) --- B (sink): wired, programs built, processes on their CPUs.

What is measured has a CPU for itself where there are two; flood and sink share the others. The users of A live
behind one neighbour (a route), for the kernel's neighbour table would hold 1,024 of them and that would be measured.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import netns
from tests.bench.daemon import ROOT, cpu_seconds, environment
from tests.bench.words import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
PORT = 2425
# No source may come near the relay's budget of 64 datagrams in 10 s: 20,000 of them may say 128,000 in a second.
USERS = 20_000
GATEWAY, BOX_A, BOX_B, SINK = "10.71.0.2", "10.71.0.1", "10.72.0.1", "10.72.0.2"
USERS_A, NETWORK_OF_USERS = "10.71.128.0", "10.71.128.0/17"
EVERYBODY_A, EVERYBODY_B = "10.71.255.255", "10.72.0.255"
BURST_ROOM = 60.0  # seconds for one flood
BIND_WITHIN = 10.0


class Wires:
    """The three hosts."""

    def __init__(self, a: netns.Namespace, box: netns.Namespace, b: netns.Namespace, scratch: Path) -> None:
        self.a, self.box, self.b, self.scratch = a, box, b, scratch
        cpus = sorted(os.sched_getaffinity(0))
        self.for_measured, self.for_others = (cpus[:1], cpus[1:]) if len(cpus) > 1 else (cpus, cpus)
        for name, data in FILES.items():
            (scratch / name).write_bytes(data)
        for program in ("floor", "flood", "sink"):
            command = ["cc", "-O2", "-Wall", "-o", str(scratch / program), str(HERE / f"{program}.c")]
            subprocess.run(command, check=True)

    def flood(self, files: Sequence[str], *, rate: int = 0, seconds: float = 0.0, count: int = 0) -> int:
        """Everybody in A says these files, by broadcast; returns how many datagrams left."""
        command = [str(self.scratch / "flood"), "-p", str(PORT), "-u", str(USERS), "-s", USERS_A]
        command += ["-r", str(rate)] + (["-n", str(count)] if count else ["-t", str(seconds)])
        command += [EVERYBODY_A, str(PORT), *(str(self.scratch / file) for file in files)]
        with self.start(self.a, command, self.for_others, stdout=subprocess.PIPE) as flood:
            said: dict[str, Any] = json.loads(flood.communicate(timeout=BURST_ROOM)[0])
        return int(said["sent"])

    @contextmanager
    def sink(self) -> Iterator[Sink]:
        """Counts what arrives in B while the body runs."""
        command = [str(self.scratch / "sink"), str(PORT)]
        with self.start(self.b, command, self.for_others, stdout=subprocess.PIPE) as process:
            wait_for_port(self.b, process)
            yield Sink(process)

    @contextmanager
    def contender(self, command: Sequence[str]) -> Iterator[subprocess.Popen[Any]]:
        """A program in the box that has bound its port, on the CPU of the measured."""
        words = {"bin": self.scratch, "port": PORT, "to": EVERYBODY_B}
        made = [word.format_map(words) for word in command]
        with self.start(self.box, made, self.for_measured) as process:
            wait_for_port(self.box, process)
            time.sleep(0.2)
            yield process

    @contextmanager
    def start(
        self, where: netns.Namespace, command: Sequence[str], cpus: Sequence[int], **options: Any
    ) -> Iterator[subprocess.Popen[Any]]:
        """The program on these CPUs. Ended at the end, it alone."""
        pinned = where.command("taskset", "--cpu-list", ",".join(map(str, cpus)), *command)
        process = subprocess.Popen(pinned, cwd=ROOT, env=environment(), **options)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


class Sink:
    """A sink that counts."""

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        self._process = process
        self.arrived = self.total = 0  # total: with those that its own buffer could not take
        self.latency: dict[str, int] | None = None  # us

    def count(self) -> None:
        """End it and read what it says."""
        self._process.send_signal(signal.SIGTERM)
        said = json.loads(self._process.communicate(timeout=10)[0])
        self.arrived, self.latency = said["arrived"], said["latency"]
        self.total = said["arrived"] + said["dropped"]


@contextmanager
def wires() -> Iterator[Wires]:
    """A, box and B with their cables, for as long as the body runs."""
    with netns.namespaces("crb", "a", "box", "b") as (a, box, b), tempfile.TemporaryDirectory() as scratch:
        netns.veth(a, "eth0", box, "left")
        netns.veth(b, "eth0", box, "right")
        netns.address(a, "eth0", f"{GATEWAY}/16")
        netns.address(box, "left", f"{BOX_A}/16")
        netns.address(box, "right", f"{BOX_B}/24")
        netns.address(b, "eth0", f"{SINK}/24")
        a.ip("route", "add", "local", NETWORK_OF_USERS, "dev", "lo")
        netns.route(box, NETWORK_OF_USERS, GATEWAY)
        netns.route(b, NETWORK_OF_USERS, BOX_B)
        for host in (a, box, b):
            host.rp_filter(0)
        yield Wires(a, box, b, Path(scratch))


def wait_for_port(where: netns.Namespace, process: subprocess.Popen[Any]) -> None:
    """Until somebody there has bound it."""
    until = time.monotonic() + BIND_WITHIN
    while f":{PORT:04X} " not in where.call(Path("/proc/thread-self/net/udp").read_text):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{process.args!r} did not open port {PORT}")
        time.sleep(0.02)


def rest(pid: int, most: float = 5.0) -> None:
    """Until the process has emptied its buffers and does nothing."""
    until, used = time.monotonic() + most, -1.0
    while (now := cpu_seconds(pid)) - used > 0.001 and time.monotonic() < until:
        used = now
        time.sleep(0.25)
