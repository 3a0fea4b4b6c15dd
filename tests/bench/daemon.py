"""One camrelay of ours in a namespace: started, asked, measured and ended by its process id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrelay.daemon import client

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Sequence

    from tests.netns import Namespace

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 60.0  # seconds
END_WITHIN = 10.0


def environment() -> dict[str, str]:
    """Ours, with the tree to import from and bytecode kept as an installation has it."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPATH": str(ROOT)}


class Daemon:
    """A daemon that has said READY=1."""

    def __init__(self, process: subprocess.Popen[bytes], control: Path, born: float, ready: float) -> None:
        self.pid = process.pid
        self.control = control
        self.born = born  # monotonic: when the process was made
        self.ready = ready  # seconds from then to READY=1
        self._process = process

    def ask(self, do: str, **more: Any) -> Any:
        """The result of one request at the control socket."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the daemon ended with {self._process.returncode}")
        return client.result(self.control, {"do": do, **more})

    def counters(self) -> dict[str, int]:
        """Of ``status``."""
        counters: dict[str, int] = self.ask("status")["counters"]
        return counters

    def buffers(self) -> dict[str, int]:
        """Bytes that the kernel granted."""
        sockets = self.ask("status")["sockets"]
        return {"receive": sockets["receive_buffer"], "send": sockets["send_buffer"]}

    def memory(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def cpu(self) -> float:
        """Seconds of CPU, all threads, those that have ended too."""
        return cpu_seconds(self.pid)

    def rest(self, quiet: float = 1.2, most: float = 30.0) -> bool:
        """Wait until it does next to nothing for ``quiet`` seconds; False if it never did."""
        until = time.monotonic() + most
        before, since = self.cpu(), time.monotonic()
        while time.monotonic() < until:
            time.sleep(0.1)
            used = self.cpu()
            if used > before + 0.02 * (time.monotonic() - since) + 0.01:
                before, since = used, time.monotonic()
            elif time.monotonic() - since >= quiet:
                return True
        return False

    def signal(self, number: signal.Signals) -> None:
        """To the daemon alone."""
        self._process.send_signal(number)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, those that have ended too; to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED), posix-timers.h


@contextmanager
def running(
    where: Namespace, folder: Path, config: Sequence[str], cpus: Sequence[int] | None = None
) -> Iterator[Daemon]:
    """A daemon with its state in ``folder``; ``config``: more lines, beginning within [relay]."""
    folder.mkdir(exist_ok=True)
    control, file, bell = folder / "control.sock", folder / "camrelay.toml", folder / "notify"
    lines = ["[relay]", f'state = "{folder}"', f'control = "{control}"', *config]
    file.write_text("\n".join(lines) + "\n")
    bell.unlink(missing_ok=True)
    command = [sys.executable, "-m", "camrelay", "run", "--config", str(file)]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
        (folder / "log").open("ab") as log,
    ):
        heard.bind(str(bell))
        words = environment() | {"NOTIFY_SOCKET": str(bell)}
        born = time.monotonic()
        process = where.call(subprocess.Popen, command, env=words, cwd=ROOT, stdout=log, stderr=log)
        try:
            if cpus:
                os.sched_setaffinity(process.pid, cpus)
            yield Daemon(process, control, born, _ready(heard, process, folder / "log") - born)
        finally:
            process.terminate()
            try:
                process.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(heard: socket.socket, process: subprocess.Popen[bytes], log: Path) -> float:
    """When it said so."""
    heard.settimeout(0.2)
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        try:
            if b"READY=1" in heard.recv(4096).split(b"\n"):
                return time.monotonic()
        except TimeoutError:
            if process.poll() is not None:
                break
    raise RuntimeError(f"camrelay did not start: {log.read_text()[-2000:]}")
