"""Our own segments: found at the start, and looked at again whenever the kernel says that something changed."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Never, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from camrelay.config import Config
    from camrelay.daemon.log import Log
    from camrelay.relay.outputs import Interface

LOOK_AGAIN: Final = 10.0  # seconds between looks at the interfaces where the kernel does not tell of changes


class Interfaces(Protocol):
    """Where our segments come from: the module ``interfaces``, or something else in tests."""

    def usable(self, names: Sequence[str] | None, also: Mapping[str, Sequence[str]]) -> list[Interface]:
        """Our segments now."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Something may be different: look again. The first one comes at once."""


class OwnSegments:
    """``now``: what the last ``look`` found."""

    def __init__(self, interfaces: Interfaces, log: Log, config: Config) -> None:
        self._interfaces = interfaces
        self._log = log
        self.now: list[Interface] = []
        self.look(config)

    def __str__(self) -> str:
        return " ".join(segment.network for segment in self.now) or "none"

    def look(self, config: Config) -> bool:
        """Are they others than before?"""
        before, self.now = self.now, self._interfaces.usable(config.relay.interfaces, config.also())
        return self.now != before

    def complain_if_none(self) -> None:
        """A line in the log: without one nobody is heard."""
        if not self.now:
            self._log.warning("no usable network interface", remedy="see `camrelay config check`")

    async def watch(self, changed: Callable[[], None]) -> Never:
        """``changed`` is called whenever there may be others."""
        try:
            async with aclosing(self._interfaces.changes()) as changes:
                async for _ in changes:
                    changed()
        except OSError as error:
            self._log.warning("interfaces are polled", cause=f"no netlink: {error.strerror or error}")
        while True:
            await trio.sleep(LOOK_AGAIN)
            changed()
