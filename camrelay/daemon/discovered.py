"""Hosts that `camrelay search --add` found: a file of the relay's own, beside the configuration that people write.

Rules kept here: what cannot be read is put aside with one warning, never overwritten; what is found counts as if it
stood in [remote] segments, and only where that does not name it already; one change is written after the other, each
in a thread, and it counts once it is on the disk.
"""

from __future__ import annotations

import os
import time
import tomllib
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from camrelay.daemon import durably
from camrelay.errors import FleetError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from camrelay.daemon.log import Log
    from camrelay.relay.rules import Settings

FILE: Final = "discovered.toml"
MOST: Final = 1024  # hosts; a segment with more of them belongs into the configuration
LARGEST: Final = 1 << 20  # bytes: 1,024 hosts are 200 KB
LONGEST: Final = 80  # characters of a name: clients cut longer ones
HEAD: Final = (
    b"# Written by `camrelay search --add`; `camrelay search --list` shows it, `--forget ADDRESS` takes one out.\n"
    b"# These hosts are asked, announced to and kept like [remote] segments of camrelay.toml.\n\n"
)


class Host(msgspec.Struct, frozen=True):
    """One host, as it answered when it was found. ``found``: UTC, "2026-11-22T09:30:00Z"."""

    address: str
    nick: str = ""
    kind: str = ""
    found: str = ""

    def fitting(self) -> Host:
        """The same, if it may be kept. ValueError if not."""
        first = int(self.address.partition(".")[0])
        if str(IPv4Address(self.address)) != self.address or first in (0, 127) or first >= 224:
            raise ValueError(f"{self.address} is no address of a host")
        nick, kind = (
            "".join(sign if sign.isprintable() else " " for sign in text[:LONGEST])
            for text in (self.nick, self.kind)
        )
        return msgspec.structs.replace(self, nick=nick, kind=kind, found=self.found[:LONGEST])


class Discovered:
    """See above. ``problem``: what a person should know, or "". ``aside`` runs what blocks, in a thread."""

    def __init__(
        self,
        path: Path,
        wall: Callable[[], float] = time.time,
        aside: Callable[..., Awaitable[None]] = trio.to_thread.run_sync,
    ) -> None:
        self.hosts: dict[str, Host] = {}
        self.damaged = 0  # files found so
        self.problem = ""
        self._path = path
        self._wall = wall
        self._aside = aside
        self._writing = trio.Lock()

    @classmethod
    def open(
        cls,
        state: str | os.PathLike[str],
        log: Log,
        wall: Callable[[], float] = time.time,
        aside: Callable[..., Awaitable[None]] = trio.to_thread.run_sync,
    ) -> Discovered:
        """Read the file in the state directory; there need not be one. Raises nothing."""
        found = cls(Path(state) / FILE, wall, aside)
        try:
            with found._path.open("rb") as file:
                raw = file.read(LARGEST + 1)
        except FileNotFoundError:
            return found
        except OSError as error:
            found.problem = f"{found._path}: {durably.reason(error)}: hosts found by search are not served"
            log.warning("discovered hosts not read", path=str(found._path), cause=durably.reason(error))
            return found
        cause = found._take(raw)
        if cause:
            found._put_aside(cause, log)
        return found

    def _take(self, raw: bytes) -> str:
        """Take in what can be read; what is wrong with the rest, or ""."""
        if len(raw) > LARGEST:
            return f"larger than {LARGEST >> 10} KiB"
        try:
            rows = tomllib.loads(raw.decode()).get("host", [])
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            return f"not TOML: {error}"
        if not isinstance(rows, list):
            return "host is no list"
        cause = ""
        for row in rows:
            try:
                host = msgspec.convert(row, Host).fitting()
            except (msgspec.ValidationError, ValueError) as error:
                cause = cause or f"an entry that is none: {error}"
                continue
            if len(self.hosts) >= MOST and host.address not in self.hosts:
                return f"more than {MOST} hosts"
            self.hosts[host.address] = host
        return cause

    def _put_aside(self, cause: str, log: Log) -> None:
        """The file as it was is kept for whoever wants to mend it; what could be read is written anew."""
        self.damaged += 1
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._wall()))
        aside = Path(f"{self._path}.damaged-{stamp}")
        try:
            os.replace(self._path, aside)
            if self.hosts:
                self._write(self.hosts)
        except (OSError, StoreError) as error:
            aside = self._path
            cause = f"{cause}; {error}"
        kept = len(self.hosts)
        self.problem = (
            f"{self._path} was damaged ({cause}): {kept} hosts of it are served, it is kept as {aside}"
        )
        log.warning(
            "discovered hosts file damaged", path=str(self._path), moved_to=str(aside), kept=kept, cause=cause
        )

    async def add(self, hosts: Iterable[Host]) -> int:
        """Remember these; how many are new. UsageError if there are too many, StoreError if it cannot be written."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
        new = {host.address: msgspec.structs.replace(host.fitting(), found=now) for host in hosts}
        async with self._writing:
            merged = self.hosts | new
            if len(merged) > MOST:
                raise UsageError(
                    f"more than {MOST} hosts would be kept: name whole segments in [remote] segments instead"
                )
            added = len(merged) - len(self.hosts)
            if new:
                await self._aside(self._write, merged)
        return added

    async def forget(self, addresses: Iterable[str]) -> list[str]:
        """Take these out ("all": every one); which were there."""
        wanted = set(addresses)
        async with self._writing:
            gone = [address for address in self.hosts if address in wanted or "all" in wanted]
            kept = {address: host for address, host in self.hosts.items() if address not in gone}
            if gone:
                await self._aside(self._write, kept)
        return gone

    def _write(self, hosts: dict[str, Host]) -> None:
        """In a worker thread, but at the start."""
        import tomli_w  # here: most relays never write this

        rows: list[dict[str, Any]] = [msgspec.to_builtins(host) for host in hosts.values()]
        try:
            durably.write(self._path, HEAD + tomli_w.dumps({"host": rows}).encode())
        except FleetError as error:  # what it raises for all small files
            raise StoreError(str(error)) from None
        self.hosts = hosts

    def merge(self, settings: Settings) -> Settings:
        """What the configuration says, and these hosts where it does not name them."""
        named = set(settings.remote)
        more = [
            address
            for address in self.hosts
            if address not in named and f"{address.rpartition('.')[0]}.*" not in named
        ]
        return replace(settings, remote=(*settings.remote, *more)) if more else settings
