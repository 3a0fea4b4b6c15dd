"""Network namespaces for tests: made, wired, used and removed with ``with``. Needs root and iproute2.

    with namespaces("crl", "a", "box", "b") as (a, box, b):
        veth(a, "eth0", box, "left")
        address(a, "eth0", "10.1.0.2/24")
        route(a, "default", "10.1.0.1")
        box.forward()                     # a router: forwards, but no broadcast
        child = a.start("camrelay", "run")  # stopped and waited for at the end
        answer = box.call(function, 1, 2)   # in a thread of ours that is inside

Everything in a namespace goes with it: only namespaces and the processes started in them are cleaned up.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h
STOP_SECONDS = 5.0  # between asking a process to end and killing it
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = count(1)


def missing() -> str | None:
    """What is missing for namespaces on this machine, in one line; None: nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2 (apt install iproute2)"
    return None


class Namespace:
    """One network namespace, and what runs in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.processes: list[subprocess.Popen[Any]] = []

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"

    def ip(self, *words: str) -> str:
        """``ip -netns NAME ...``: its output. Raises RuntimeError with what ip said."""
        return _ip("-netns", self.name, *words)

    def command(self, *words: str) -> list[str]:
        """The words that run this inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str, timeout: float = 60.0, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end; output as text. Raises CalledProcessError unless ``check=False``."""
        options = {"check": True, "capture_output": True, "text": True} | options
        return subprocess.run(self.command(*words), timeout=timeout, **options)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[Any]:
        """Start it; it is stopped at the end of the test, at the latest."""
        process = subprocess.Popen(self.command(*words), **options)
        self.processes.append(process)
        return process

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread of ours that is inside (sockets it opens stay there), and wait."""
        with ThreadPoolExecutor(1, thread_name_prefix=f"in {self.name}") as thread:
            thread.submit(self._enter).result()
            return thread.submit(function, *args, **kwargs).result()

    def sysctl(self, key: str, value: int | str) -> None:
        """``net.ipv4.conf.all.rp_filter``; an interface with a dot in its name needs slashes throughout."""
        path = Path("/proc/sys", key if "/" in key else key.replace(".", "/"))
        self.call(path.write_text, f"{value}\n")

    def forward(self) -> None:
        """Be a router."""
        self.sysctl("net.ipv4.ip_forward", 1)

    def rp_filter(self, mode: int) -> None:
        """0 off, 1 strict, 2 loose: for the interfaces there are and those to come."""
        names = self.call(lambda: [entry.name for entry in Path("/proc/sys/net/ipv4/conf").iterdir()])
        for name in names:
            self.sysctl(f"net/ipv4/conf/{name}/rp_filter", mode)

    def stop(self) -> None:
        """End what was started here: ask, wait, kill. Its pipes are closed."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self.processes.clear()

    def _enter(self) -> None:
        """Move the calling thread inside; there is no way back, so let it end there."""
        with open(f"/run/netns/{self.name}") as door:
            if _libc.setns(door.fileno(), CLONE_NEWNET) != 0:
                error = ctypes.get_errno()
                raise OSError(error, f"setns {self.name}: {os.strerror(error)}")


@contextmanager
def namespaces(prefix: str, *names: str) -> Iterator[tuple[Namespace, ...]]:
    """Fresh namespaces called PREFIX-PID-NUMBER-NAME, each with its loopback up."""
    with ExitStack() as stack:
        made = []
        for name in names:
            namespace = Namespace(f"{prefix}-{os.getpid()}-{next(_numbers)}-{name}")
            _ip("netns", "add", namespace.name)
            stack.callback(_ip, "netns", "delete", namespace.name)
            stack.callback(namespace.stop)
            namespace.ip("link", "set", "lo", "up")
            made.append(namespace)
        yield tuple(made)


def veth(one: Namespace, name: str, other: Namespace, other_name: str) -> None:
    """A cable between two namespaces, both ends up."""
    _ip(
        *("link", "add", "name", name, "netns", one.name, "type", "veth"),
        *("peer", "name", other_name, "netns", other.name),
    )
    one.ip("link", "set", "dev", name, "up")
    other.ip("link", "set", "dev", other_name, "up")


def bridge(namespace: Namespace, name: str, *ports: str) -> None:
    """A switch, up, with these interfaces of the namespace plugged in."""
    namespace.ip("link", "add", "name", name, "type", "bridge", "forward_delay", "0")
    namespace.ip("link", "set", "dev", name, "up")
    for port in ports:
        namespace.ip("link", "set", "dev", port, "master", name)


def address(namespace: Namespace, interface: str, network: str) -> None:
    """``10.1.0.2/24``, with its broadcast address."""
    namespace.ip("address", "add", network, "broadcast", "+", "dev", interface)


def route(namespace: Namespace, to: str, via: str) -> None:
    """``default`` or a network, by way of a router."""
    namespace.ip("route", "add", to, "via", via)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
