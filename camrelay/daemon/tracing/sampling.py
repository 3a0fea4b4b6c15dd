"""What ``camrelay report`` asks for: the first words of clients of unknown kinds, without what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand


async def samples(stand: Stand, request: Request, tell: Tell) -> dict[str, Any]:
    """By address: see ``daemon.samples``."""
    await trio.lowlevel.checkpoint()
    return {"samples": stand.samples.by_address if stand.samples else {}}
