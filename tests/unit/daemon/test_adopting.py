"""The key comes after the start; a relay without one goes on and says so."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio

from camrelay.daemon.adopting import adopt
from camrelay.daemon.keys import Keys, load_or_create
from camrelay.daemon.log import Log
from tests.keys import RELAY, RELAY_PEM

if TYPE_CHECKING:
    from pathlib import Path


def adopted(directory: Path) -> tuple[list[Keys], list[str], str]:
    """What the relay took, the warnings, and the log."""
    taken: list[Keys] = []
    answering: Any = SimpleNamespace(more=[])
    said = io.StringIO()

    async def run() -> None:
        log = Log(trio.current_time)
        log.open(stream=said, environment={})
        await adopt(lambda: load_or_create(directory), taken.append, answering, log)

    trio.run(run)
    return taken, answering.more, said.getvalue()


def test_the_key_is_taken_and_its_fingerprint_logged(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(RELAY_PEM)
    (tmp_path / "key.pem").chmod(0o600)
    (keys,), warnings, said = adopted(tmp_path)
    assert keys.key.public == RELAY.public
    assert warnings == []
    assert "8afb10eea9bae83c" in said
    assert "PRIVATE" not in said


def test_a_key_that_cannot_be_used_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"nonsense")
    taken, (warning,), said = adopted(tmp_path)
    assert taken == []
    assert warning.startswith("no signed lists: ")
    assert "put the right file back" in said


def test_a_key_that_cannot_be_kept_is_used_and_a_warning(tmp_path: Path) -> None:
    taken, (warning,), _ = adopted(tmp_path / "missing")
    assert len(taken) == 1
    assert "new name at every start" in warning
