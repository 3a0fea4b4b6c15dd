"""Small files that must survive a power cut: whole and private, or as they were before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from camrelay.errors import FleetError

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE: Final = 0o600


def write(path: Path, content: bytes) -> None:
    """Replace ``path``, durably once this returns, readable by its owner alone. FleetError if it cannot be done."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise FleetError(f"{path}: {reason(error)}: nothing was changed") from None
    finally:
        temporary.unlink(missing_ok=True)


def shut(path: Path) -> str:
    """Nobody but its owner may read ``path`` from now on; if that cannot be done, what a person has to do, else ""."""
    if path.stat().st_mode & 0o077:
        try:
            path.chmod(PRIVATE)
        except OSError:
            return f"{path}: others may read it: chmod 600, and its owner must be the user who runs camrelay"
    return ""


def reason(error: OSError) -> str:
    """Why, in lower case."""
    return (error.strerror or str(error)).lower()
