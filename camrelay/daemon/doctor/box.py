"""What a doctor may look at, and how: folders, programs, clocks, handed in so that another box can stand for ours."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from camrelay.daemon import interfaces
from camrelay.daemon.probes import ways

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from camrelay.daemon.interfaces import Choice
    from camrelay.relay.outputs import Interface

PATIENCE: Final = 10.0  # seconds for a program: nft lists 10,000 rules within one
MOST_OUTPUT: Final = 64 << 20  # bytes of one program's output
SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"  # where an ordinary user's PATH does not lead

TIMEX_SIZE: Final = 208  # struct timex of linux/timex.h, 64 bit
TIME_ERROR: Final = 5  # what adjtimex(2) returns for a clock that nobody corrects


class Ran(NamedTuple):
    """How a program ended. ``code``: -1 if there is no such program, -2 if it did not end in time."""

    code: int
    out: str
    err: str


def run(words: Sequence[str]) -> Ran:
    """Run a program to its end, in English and without a word to it."""
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    program = shutil.which(words[0], path=path)
    if program is None:
        return Ran(-1, "", f"{words[0]} is not installed")
    try:
        done = subprocess.run(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        return Ran(-2, "", f"{words[0]} did not end within {PATIENCE:.0f} s")
    except OSError as error:
        return Ran(-1, "", f"{words[0]}: {error.strerror}")
    out, err = (text[:MOST_OUTPUT].decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return Ran(done.returncode, out, err.strip())


def synchronised() -> bool | None:
    """Does somebody (NTP) keep this clock right? adjtimex(2), which only reads here. None: it does not say."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(TIMEX_SIZE))
    return None if state < 0 else state != TIME_ERROR


@dataclass(frozen=True, slots=True)
class Box:
    """This machine, unless a test says otherwise."""

    proc: Path = Path("/proc")
    run: Callable[[Sequence[str]], Ran] = run
    wall: Callable[[], float] = time.time
    synchronised: Callable[[], bool | None] = synchronised
    space: Callable[[Path], os.statvfs_result] = os.statvfs
    way: Callable[[str], ways.Way] = ways.way
    usable: Callable[[Sequence[str] | None, Mapping[str, Sequence[str]]], list[Interface]] = interfaces.usable
    explain: Callable[[Sequence[str] | None, Mapping[str, Sequence[str]]], list[Choice]] = interfaces.explain
    root: bool = field(default_factory=lambda: os.geteuid() == 0)
    hostname: str = field(default_factory=socket.gethostname)

    def read(self, *parts: str) -> str | None:
        """A file below /proc; None if it cannot be read."""
        try:
            return self.proc.joinpath(*parts).read_text("utf-8", "replace")
        except OSError:
            return None

    def sysctl(self, name: str) -> int | None:
        """A number such as "net/ipv4/conf/all/rp_filter"."""
        text = (self.read("sys", name) or "").split()
        return int(text[0]) if text and text[0].lstrip("-").isdigit() else None
