"""The control socket itself: made so that from the first moment only those who may ask can open it."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path

from camrelay.daemon.durably import reason
from camrelay.errors import StartError

GROUP = "camrelay"
BACKLOG = 16  # connections that wait to be taken


def listen(path: str | os.PathLike[str]) -> tuple[socket.socket, list[str]]:
    """A listening socket at ``path``, 0660, group camrelay if there is one; and warnings. Or StartError.

    A socket left behind by a dead daemon is replaced; one that somebody answers on is not.
    """
    where = Path(path)
    try:
        where.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _clear(where)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        mask = os.umask(0o117)  # from the first moment on nobody else may connect
        try:
            listener.bind(str(where))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError as error:
        raise StartError(
            f"control socket {where}: {reason(error)}: set [relay] control or make the directory"
        ) from None
    return listener, _give_to_group(where)


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise StartError(
                f"control socket {path}: something else is there: move it or set [relay] control"
            )
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        # EAGAIN: the queue of a living listener is full
        if probe.connect_ex(str(path)) in (0, errno.EAGAIN):
            raise StartError(f"another camrelay answers at {path}: stop it first (systemctl stop camrelay)")
    path.unlink(missing_ok=True)


def _give_to_group(path: Path) -> list[str]:
    try:
        group = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return []
    try:
        if path.stat().st_gid != group:  # a sandbox refuses chown altogether
            os.chown(path, -1, group)
    except OSError as error:
        return [
            f"control socket {path}: cannot be given to group {GROUP} ({reason(error)}): only its owner may ask"
        ]
    return []
