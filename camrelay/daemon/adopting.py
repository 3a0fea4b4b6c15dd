"""The relay gets its key: late and in a thread, because the library behind it takes up to 0.3 s to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from camrelay.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.daemon.answering import Answering
    from camrelay.daemon.keys import Keys
    from camrelay.daemon.log import Log


async def adopt(
    load_keys: Callable[[], Keys], take: Callable[[Keys], None], answering: Answering, log: Log
) -> None:
    """Load the keys and let ``take`` have them; without any the relay goes on, and says what it lacks."""
    try:
        keys = await trio.to_thread.run_sync(load_keys)
    except StartError as error:
        log.error("no key, so no signed lists", cause=str(error))
        answering.more.append(f"no signed lists: {error}")
        return
    take(keys)
    log.info("key created" if keys.created else "key loaded", fingerprint=keys.key.public.fingerprint)
    if keys.note:
        log.warning("not as good as it could be", cause=keys.note)
        answering.more.append(keys.note)
