"""The relay's keys on disk: made once, read by nobody else, never replaced.

Rule kept here: what is there and cannot be read is reported and left alone: a new key would be a new name of the relay
in everybody's list. Both keys stand in one PEM file, so that one copy carries the whole identity.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from camrelay.daemon.durably import PRIVATE, reason, shut
from camrelay.errors import StartError
from camrelay.ipmsg.crypto import PrivateKey

FILE = "key.pem"
LARGEST = 65_536  # bytes: two keys are under 3,000
_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)


class Keys(NamedTuple):
    """The relay's keys. ``note``: what is not as it should be, with the remedy, or ""."""

    key: PrivateKey  # 2048 bits: the relay's name
    old: PrivateKey | None  # 1024 bits, for clients of the 2.x and 3.x kind
    created: bool = False
    note: str = ""


def load_or_create(directory: str | os.PathLike[str]) -> Keys:
    """The keys in ``key.pem`` there, made if there is no such file. 0.2 s of work at first, 50 ms later.

    StartError for a file that cannot be used. A disk that cannot be written costs the file, not the keys.
    """
    path = Path(directory) / FILE
    try:
        if path.stat().st_size > LARGEST:
            raise StartError(f"{path}: too large for a key file")
        pem = path.read_bytes()
    except FileNotFoundError:
        return _create(path)
    except OSError as error:
        raise StartError(f"{path}: {reason(error)}") from None
    keys = _parse(pem, path)
    return keys._replace(note=shut(path))


def _parse(pem: bytes, path: Path) -> Keys:
    found = [_load(block, path) for block in _BLOCK.findall(pem) or [pem]]
    new = [key for key in found if key.public.bits == 2048]
    old = [key for key in found if key.public.bits == 1024]
    if not new:
        raise StartError(f"{path}: holds no key of 2048 bits")
    return Keys(new[0], old[0] if old else None)


def _load(pem: bytes, path: Path) -> PrivateKey:
    try:
        return PrivateKey.load(pem)
    except StartError as error:
        raise StartError(f"{path}: {error}: put the right file back, or remove it for a new name") from None


def _create(path: Path) -> Keys:
    keys = Keys(PrivateKey.create(), PrivateKey.create(1024), created=True)
    assert keys.old is not None
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            file.write(keys.key.pem() + keys.old.pem())
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # fails if somebody was faster, where replacing would not
    except FileExistsError:
        return load_or_create(path.parent)
    except OSError as error:
        return keys._replace(
            note=f"{path}: {reason(error)}: the relay has a new name at every start until this is mended"
        )
    finally:
        temporary.unlink(missing_ok=True)
    return keys
