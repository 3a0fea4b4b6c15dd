"""Names and addresses, asked in both directions from the system's resolver (DNS, /etc/hosts).

It blocks, so it is asked in a thread that is left alone when the time is over; four at most, so that a dead name
server cannot take all threads of the daemon.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

WAIT: Final = 3.0  # seconds for a question with all that follows from it
THREADS: Final = 4
LONGEST: Final = 253  # characters of a name, RFC 1035
MOST: Final = 16  # addresses of one name that are looked at

_limit: Final = trio.lowlevel.RunVar[trio.CapacityLimiter]("threads for names")


class Lookup(Protocol):
    """Who is asked. Both block; an unknown name or address is an empty answer, a failure OSError."""

    def forward(self, word: str) -> list[str]:
        """IPv4 addresses of a name."""

    def reverse(self, address: str) -> str:
        """The name of an address."""


class System:
    """The system's resolver."""

    def forward(self, word: str) -> list[str]:
        """See ``Lookup``."""
        try:
            rows = socket.getaddrinfo(word, None, socket.AF_INET, socket.SOCK_DGRAM)
        except socket.gaierror as problem:
            if problem.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
                return []
            raise
        except UnicodeError:  # "..", a label that is too long
            return []
        return list(dict.fromkeys(str(row[4][0]) for row in rows))

    def reverse(self, address: str) -> str:
        """See ``Lookup``."""
        try:
            return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        except socket.gaierror as problem:
            if problem.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
                return ""
            raise


SYSTEM: Final = System()


async def resolve(word: str, dns: Lookup = SYSTEM, wait: float = WAIT) -> tuple[list[str], Fact | None]:
    """The IPv4 addresses that a name (or an address) stands for; if there is none, the Fact that says so."""
    start = trio.current_time()
    found: list[str] = []
    why = ""
    if 0 < len(word) <= LONGEST and word.isprintable():
        try:
            with trio.fail_after(wait):
                found = (await _ask(partial(dns.forward, word)))[:MOST]
        except (OSError, trio.TooSlowError) as problem:
            why = _why(problem)
    if found:
        return found, None
    seconds = trio.current_time() - start
    if why:
        return [], Fact("name", "not-checked", seconds, detail={"why": why, "name": word})
    return [], Fact("name", "unknown-name", seconds, detail={"name": word[:LONGEST]})


async def name_fact(address: str, dns: Lookup = SYSTEM, wait: float = WAIT) -> Fact:
    """name: matches (name) | reverse-only (name) | differs (name, forward) | none | not-checked (why)."""
    start = trio.current_time()
    try:
        with trio.fail_after(wait):
            name = (await _ask(partial(dns.reverse, address)))[:LONGEST]
            forward = (await _ask(partial(dns.forward, name)))[:MOST] if name else []
    except (OSError, trio.TooSlowError) as problem:
        return Fact("name", "not-checked", trio.current_time() - start, detail={"why": _why(problem)})
    outcome = _compare(address, name, forward)
    detail = {"name": name} if name else {}
    if outcome == "differs":
        detail["forward"] = ", ".join(forward)
    return Fact("name", outcome, trio.current_time() - start, detail=detail)


def _compare(address: str, name: str, forward: list[str]) -> str:
    if not name:
        return "none"
    if not forward:
        return "reverse-only"
    return "matches" if address in forward else "differs"


def _why(problem: OSError | trio.TooSlowError) -> str:
    if isinstance(problem, trio.TooSlowError):
        return "the name server does not answer in time"
    return problem.strerror or str(problem)


async def _ask(question: Callable[[], T]) -> T:
    try:
        limit = _limit.get()
    except LookupError:
        limit = trio.CapacityLimiter(THREADS)
        _limit.set(limit)
    return await trio.to_thread.run_sync(question, abandon_on_cancel=True, limiter=limit)
