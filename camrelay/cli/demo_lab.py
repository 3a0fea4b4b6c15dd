"""Two segments and a router in network namespaces of our own, which vanish with this process.

    pc pc pc relay                      pc pc pc
     |  |  |  |                          |  |  |
    bridge 192.168.1.1 --- router --- 192.168.2.1 bridge

``enter`` starts a program inside fresh namespaces; there, ``Lab`` builds the boxes. It needs iproute2 and
either root or user namespaces. The router forwards, checks source addresses (rp_filter) and, like every
router, passes no broadcast.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from camrelay.errors import StartError
from camrelay.ipmsg.command import PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_NEWNET = 0x40000000  # linux/sched.h
NAMES = Path("/run/netns")  # where `ip netns` keeps its names; /run is a fresh tmpfs here

# What switches user namespaces off, and on again. Path, the value that forbids, the remedy.
FORBIDDING = (
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
)


def enter(words: Sequence[str]) -> int:
    """Run ``words`` in fresh network, mount and process namespaces; its exit code. Raises StartError."""
    for program, package in (
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("ip", "iproute2"),
        ("mount", "mount"),
    ):
        if not _which(program):
            raise StartError(f"the demo needs {program}: apt install {package}")
    fresh = ["--net", "--mount", "--pid", "--fork", "--kill-child"]
    ways = [["--user", "--map-root-user", *fresh]]
    if os.geteuid() == 0:
        ways.insert(0, fresh)
    said = ""
    for way in ways:
        command = [_which("unshare"), *way, "--"]
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return subprocess.run([*command, *words], check=False).returncode
        said = " ".join(tried.stderr.split()).removeprefix("unshare: ") or "unshare failed"
    raise StartError(f"the demo needs namespaces, and this system refuses them ({said}): {_remedy()}")


def _which(program: str) -> str:
    """Its path, or "". An ordinary user's PATH on Debian lacks the sbin directories."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or ""


def _remedy() -> str:
    for name, forbids, remedy in FORBIDDING:
        try:
            if Path("/proc/sys", name).read_text().strip() == forbids:
                return f"{remedy}, or run it with sudo"
        except OSError:
            continue
    return "run it with sudo, and in a container with --privileged"


class Lab:
    """The boxes. Made inside fresh namespaces only (see ``enter``); every method raises StartError."""

    def __init__(self) -> None:
        _run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def build(self, segments: dict[str, dict[str, str]]) -> None:
        """Make all boxes: {"192.168.1": {box: address, ...}, ...}; the router is .1 in each."""
        boxes = [box for segment in segments.values() for box in segment]
        _batch("", [f"netns add {name}" for name in ("router", *boxes)])
        lines = ["link set lo up"]
        for number, (prefix, segment) in enumerate(segments.items(), 1):
            # forward_delay 0: a new port of a bridge is deaf for 15 s otherwise
            lines += [f"link add lan{number} type bridge forward_delay 0", f"link set lan{number} up"]
            lines += [f"address add {prefix}.1/24 broadcast {prefix}.255 dev lan{number}"]
            for box in segment:
                lines += [f"link add {box} type veth peer name eth0 netns {box}"]
                lines += [f"link set {box} master lan{number} up"]
        _batch("router", lines)
        for prefix, segment in segments.items():
            for box, address in segment.items():
                up = ["link set lo up", f"address add {address}/24 broadcast {prefix}.255 dev eth0"]
                _batch(box, [*up, "link set eth0 up", f"route add default via {prefix}.1"])
        self._route()

    def socket(self, box: str) -> socket.socket:
        """A UDP socket on port 2425 of that box, for a client."""
        with self._inside(box):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.bind(("0.0.0.0", PORT))
        return made

    def start(
        self, box: str, words: Sequence[str], log: Path, environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a program in that box, its output at the end of ``log``."""
        with log.open("ab") as file:
            return subprocess.Popen(
                [_which("nsenter"), f"--net={NAMES / box}", *words],  # ip netns exec would mount /sys, too
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | environment,
            )

    def _route(self) -> None:
        """Make the router one: forwarding, and the reverse path check that real ones have."""
        with self._inside("router"):
            try:
                for name in ("ip_forward", "conf/all/rp_filter"):
                    Path("/proc/sys/net/ipv4", name).write_text("1")
            except OSError as error:
                raise StartError(
                    f"the demo's router cannot forward: /proc/sys is not writable here ({error.strerror}): "
                    "in a container, run it with --privileged"
                ) from None

    def _inside(self, box: str) -> _Inside:
        return _Inside(self._libc, NAMES / box, self._home)


class _Inside:
    """While entered, this thread is in another network namespace: what it opens belongs there for good."""

    def __init__(self, libc: ctypes.CDLL, name: Path, home: int) -> None:
        self._libc, self._name, self._home = libc, name, home

    def __enter__(self) -> None:
        there = os.open(self._name, os.O_RDONLY)
        try:
            self._go(there)
        finally:
            os.close(there)

    def __exit__(self, *_: object) -> None:
        self._go(self._home)

    def _go(self, namespace: int) -> None:
        if self._libc.setns(namespace, CLONE_NEWNET):
            raise StartError(f"cannot change network namespace: {os.strerror(ctypes.get_errno())}")


def _batch(box: str, lines: Sequence[str]) -> None:
    where = ["-netns", box] if box else []
    _run(["ip", *where, "-batch", "-"], "".join(f"{line}\n" for line in lines))


def _run(words: Sequence[str], given: str = "") -> None:
    done = subprocess.run(
        [_which(words[0]), *words[1:]], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise StartError(f"the demo cannot build its network: {' '.join(words[:4])}: {said}")
