"""The daemon as a process: what is opened in which order, how it ends, and with which exit code.

Sockets first (a busy port is the most likely mistake), the database last. What keeps it from starting is one
line; a bug is one critical line with its traceback, and exit code 70 makes systemd start it again.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import trio

from camrelay.daemon import control, interfaces
from camrelay.daemon.keys import load_or_create
from camrelay.daemon.lan import Lan
from camrelay.daemon.log import Log
from camrelay.daemon.notify import Notify, handed_over, watchdog_seconds
from camrelay.daemon.peers import Peers
from camrelay.daemon.stalls import Stalls
from camrelay.daemon.store import Store
from camrelay.daemon.tasks import Tasks
from camrelay.errors import CamrelayError, causes

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from camrelay.config import Config

# A full collection stops everything for 60 ms at 20,000 users, and finds nothing: what comes and goes here is freed
# by reference counts. So it is made rare.
GC: Final = (10_000, 50, 100)
BUG: Final = 70  # EX_SOFTWARE of sysexits.h


def run(config: Config, environment: MutableMapping[str, str] = os.environ) -> None:
    """Run until SIGTERM or SIGINT. Raises CamrelayError where it cannot start; SystemExit(70) is a bug."""
    gc.disable()  # until all is loaded: a full collection would look at every user a dozen times
    log = Log()
    stalls = Stalls()
    notify = Notify(environment)
    try:
        trio.run(partial(_serve, config, log, notify, stalls, environment), instruments=[stalls])
    except BaseException as error:  # noqa: BLE001 - the last door: give_up raises for every one of them
        give_up(error, log, notify)


def give_up(error: BaseException, log: Log, notify: Notify) -> NoReturn:
    """Raise the one error that a person can act on, or SystemExit(70) after a line about the bug."""
    found = list(causes(error))
    known = next((cause for cause in found if isinstance(cause, CamrelayError)), None)
    if known is not None:
        notify.say(f"STATUS={known}")
        raise known from None
    if isinstance(found[0], Exception):
        log.end("bug: the relay ends and is to be started again", found[0])
        raise SystemExit(BUG) from None
    raise error


async def _serve(
    config: Config, log: Log, notify: Notify, stalls: Stalls, environment: MutableMapping[str, str]
) -> None:
    with ExitStack() as stack:
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT))
        fd = handed_over(environment)
        lan = Lan.open(fd=fd)
        stack.callback(lan.close)
        listener, warnings = control.listen(config.relay.control)
        stack.callback(Path(config.relay.control).unlink, missing_ok=True)
        stack.enter_context(listener)
        store = Store.open(config.relay.state, log)
        stack.callback(store.close)
        tasks = Tasks(
            config,
            lan=lan,
            interfaces=interfaces,
            store=store,
            log=log,
            notify=notify,
            hostname=socket.gethostname(),
            source="own" if fd is None else "systemd",
            warnings=warnings,
            stalls=stalls,
            watchdog=watchdog_seconds(environment),
            keys=partial(load_or_create, config.relay.state),
            peers=Peers,
        )
        tasks.start()
        gc.freeze()  # what is there now stays, so no later collection has to look at it
        gc.set_threshold(*GC)
        gc.enable()
        await tasks.serve(listener, signals)
